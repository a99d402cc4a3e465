//! The arguments that are about directory trees and streams.

use std::ffi::OsString;
use std::num::NonZero;
use std::path::{Path, PathBuf};

use clap::Args;
use packstone::ops::{FilesSource, StreamInput, StreamSource};
use packstone::source::files::Options;

use super::paths;
use crate::context::Context;
use crate::exit::{Failure, Result};
use crate::size;

/// Which files, and how they are read.
#[derive(Args, Debug)]
#[command(next_help_heading = "Files")]
pub struct FileArguments {
    /// Leave out what matches a pattern, in the syntax of .gitignore (repeatable)
    #[arg(short, long, value_name = "PATTERN")]
    exclude: Vec<String>,
    /// The same, without regard to upper and lower case (repeatable)
    #[arg(long, value_name = "PATTERN")]
    iexclude: Vec<String>,
    /// File of patterns, one a line (repeatable)
    #[arg(long, value_name = "FILE")]
    exclude_file: Vec<PathBuf>,
    /// Leave out what is in directories that a CACHEDIR.TAG marks as caches, but for the tag
    #[arg(long)]
    exclude_caches: bool,
    /// Leave out what is in directories that have such a file, but for that file; with HEADER only where it begins so (repeatable)
    #[arg(long, value_name = "NAME[:HEADER]")]
    exclude_if_present: Vec<String>,
    /// Leave out files that are larger
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    exclude_larger_than: Option<u64>,
    /// Cut files that match at fixed runs of 64 KiB, as databases are by themselves: images of disks (repeatable)
    #[arg(long, value_name = "PATTERN")]
    pages: Vec<String>,
    /// Stay on the file system of each path
    #[arg(short = 'x', long)]
    one_file_system: bool,
    /// Back up what a list names, one path or pattern a line; # begins a comment; - is standard input (repeatable)
    #[arg(long, value_name = "FILE")]
    files_from: Vec<OsString>,
    /// Back up what a list names, one path a line as it is; - is standard input (repeatable)
    #[arg(long, value_name = "FILE")]
    files_from_verbatim: Vec<OsString>,
    /// Back up what a list names, each path ended by a NUL; - is standard input (repeatable)
    #[arg(long, value_name = "FILE")]
    files_from_raw: Vec<OsString>,
    /// Keep the times of last reading as well
    #[arg(long)]
    with_atime: bool,
    /// Take a file for unchanged even if its ctime has changed
    #[arg(long)]
    ignore_ctime: bool,
    /// Take a file for unchanged even if its inode has changed
    #[arg(long)]
    ignore_inode: bool,
    /// Files that are read at the same time [default: as many as there are processors]
    #[arg(long, value_name = "N", env = "PACKSTONE_READ_CONCURRENCY", hide_env_values = true)]
    pub read_concurrency: Option<NonZero<usize>>,
    /// Back up standard input as a file
    #[arg(long, conflicts_with_all = ["stdin_from_command", "sources"])]
    pub stdin: bool,
    /// Back up what a command writes, given after --, as a file; if it fails, so does the backup
    #[arg(long)]
    pub stdin_from_command: bool,
    /// What a stream is called in the snapshot [default: stdin, or the name of the program]
    #[arg(long, value_name = "NAME")]
    stdin_filename: Option<String>,
}

impl FileArguments {
    /// All paths that are given, with those of lists; `None` if there are none.
    pub fn source(&self, context: &Context, given: &[PathBuf]) -> Result<Option<FilesSource>> {
        let note = |text: &str| context.output.note(text);
        let mut paths = given.to_vec();
        for list in &self.files_from {
            paths.extend(paths::patterns(list, &note)?);
        }
        for list in &self.files_from_verbatim {
            paths.extend(paths::verbatim(list)?);
        }
        for list in &self.files_from_raw {
            paths.extend(paths::raw(list)?);
        }
        if paths.is_empty() {
            return match self.has_lists() {
                true => Err(Failure::usage("--files-from", "the lists name nothing to back up")),
                false => Ok(None),
            };
        }
        let mut absolute = paths.iter().map(|path| paths::absolute(path)).collect::<Result<Vec<_>>>()?;
        absolute.sort();
        absolute.dedup();
        let mut source = FilesSource::new(absolute);
        source.options = Options {
            one_file_system: self.one_file_system,
            excludes: self.exclude.clone(),
            iexcludes: self.iexclude.clone(),
            exclude_files: self.exclude_file.clone(),
            exclude_caches: self.exclude_caches,
            exclude_if_present: self.exclude_if_present.clone(),
            exclude_larger_than: self.exclude_larger_than,
            page_files: self.pages.clone(),
            with_atime: self.with_atime,
            ignore_inode: self.ignore_inode,
            ignore_ctime: self.ignore_ctime,
        };
        Ok(Some(source))
    }

    /// A stream as a file, called after the program where it is a command's.
    pub fn stream(&self, input: StreamInput) -> Result<StreamSource> {
        let name = match (&self.stdin_filename, &input) {
            (Some(name), _) => name.trim_start_matches('/').to_owned(),
            (None, StreamInput::Command(words)) => {
                let program = words.first().and_then(|word| Path::new(word).file_name());
                program.map_or_else(|| "stdin".to_owned(), |name| name.to_string_lossy().into_owned())
            }
            (None, StreamInput::Stdin) => "stdin".to_owned(),
        };
        if name.is_empty() || Path::new(&name).components().any(|part| !matches!(part, std::path::Component::Normal(_)))
        {
            return Err(Failure::usage(name, "is no name of a file"));
        }
        Ok(StreamSource { input, name: Path::new("/").join(name) })
    }

    /// Whether lists name paths.
    pub fn has_lists(&self) -> bool {
        !(self.files_from.is_empty() && self.files_from_verbatim.is_empty() && self.files_from_raw.is_empty())
    }

    /// Lists that come from standard input.
    pub fn lists_from_stdin(&self) -> usize {
        let lists = self.files_from.iter().chain(&self.files_from_verbatim).chain(&self.files_from_raw);
        lists.filter(|list| *list == "-").count()
    }

    /// An option that means something for directory trees only.
    pub fn option_of_trees(&self) -> Option<&'static str> {
        let options = [
            (!self.exclude.is_empty(), "--exclude"),
            (!self.iexclude.is_empty(), "--iexclude"),
            (!self.exclude_file.is_empty(), "--exclude-file"),
            (self.exclude_caches, "--exclude-caches"),
            (!self.exclude_if_present.is_empty(), "--exclude-if-present"),
            (self.exclude_larger_than.is_some(), "--exclude-larger-than"),
            (!self.pages.is_empty(), "--pages"),
            (self.one_file_system, "--one-file-system"),
            (self.with_atime, "--with-atime"),
            (self.ignore_ctime, "--ignore-ctime"),
            (self.ignore_inode, "--ignore-inode"),
        ];
        options.iter().find(|(given, _)| *given).map(|(_, name)| *name)
    }

    /// An option that means something for streams only.
    pub fn option_of_streams(&self) -> Option<&'static str> {
        self.stdin_filename.is_some().then_some("--stdin-filename")
    }
}
