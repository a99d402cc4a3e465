//! Values in Transit's JSON, cached and verbose.
//!
//! A writer numbers strings over the whole of one top-level value, so a [`Reader`] keeps its cache from call to call: a
//! large value can be read part by part, as long as every part is read, in the order of the text. [`Reader::reset`] comes
//! before the next top-level value.
//!
//! | Transit | value |
//! |---|---|
//! | `"~:a/b"`, `"~$a/b"` | keyword, symbol |
//! | `"~u<uuid>"`, `["~#u",[high,low]]` | UUID |
//! | `"~m<milliseconds>"`, `"~t<RFC 3339>"` | instant |
//! | `5`, `"~i9007199254740993"` | long, or bigint over 64 bits |
//! | `"~n5"`, `"~f1.10"`, `["~#ratio",["~n1","~n3"]]` | bigint, decimal, ratio |
//! | `1.5`, `"~d1.5"`, `"~zNaN"`, `"~zINF"`, `"~z-INF"` | double |
//! | `"~b<Base64>"`, `"~r<URI>"`, `"~cx"`, `"~?t"`, `"~_"` | bytes, URI, char, boolean, nil |
//! | `"~~a"`, `"~^a"`, `` "~`a" `` | the strings `~a`, `^a`, `` `a `` |
//! | `[1,2]`, `["~#list",[1]]`, `["~#set",[1]]` | tuple, list, set |
//! | `["^ ",k,v]`, `{"k":v}`, `["~#cmap",[k,v]]` | map |
//! | `["~#'",x]`, `{"~#'":x}` | `x` |
//! | any other tag | unknown tag, kept |

mod cache;
mod read;

pub use read::{Head, Reader};

#[cfg(test)]
mod tests;
