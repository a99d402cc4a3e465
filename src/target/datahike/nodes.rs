//! Nodes of an index as blobs.

use crate::datahike::encode_node;
use crate::datahike::node::Address;
use crate::datahike::{IndexOrder, hasch};
use crate::error::{Error, ErrorKind, Result};
use crate::record::datom::{Datom, EncodeError, decode_key};

/// How nodes are made.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub(super) branching_factor: usize,
    pub(super) crypto_hash: bool,
    /// Seconds since 1970, with which random addresses begin.
    pub(super) seconds: u32,
}

/// A node that a branch is to name.
pub(super) struct Child {
    /// Its last datom, as the key of a record.
    pub(super) last: Vec<u8>,
    pub(super) address: Address,
    /// Datoms below it.
    pub(super) count: u64,
}

/// A node: where it is stored and the value of its blob.
pub(super) struct Encoded {
    pub(super) address: Address,
    pub(super) value: Vec<u8>,
}

impl Shape {
    pub(super) fn address(self) -> Address {
        let mut address = [0; 16];
        getrandom::fill(&mut address).expect("the operating system always has random bytes once it is up");
        address[..4].copy_from_slice(&self.seconds.to_be_bytes());
        address[6] = address[6] & 0x0f | 0x40;
        address[8] = address[8] & 0x3f | 0x80;
        address
    }

    /// A leaf of datoms, each as the key of a record, in the order of their index.
    pub(super) fn leaf<D: AsRef<[u8]>>(self, order: IndexOrder, datoms: &[D]) -> Result<Encoded> {
        let datoms = datoms.iter().map(|datom| decode(datom.as_ref())).collect::<Result<Vec<_>>>()?;
        let address = match self.crypto_hash {
            false => self.address(),
            true => hasch::of_datoms(&datoms).map_err(|why| {
                let message = "a leaf has no hash, which `:crypto-hash?` asks for";
                Error::new(ErrorKind::Data, order.name(), message).because(why)
            })?,
        };
        let value = encode_node::leaf(&datoms, self.branching_factor).map_err(refused)?;
        Ok(Encoded { address, value })
    }

    /// A branch, at least one level above the leaves.
    pub(super) fn branch(self, level: u32, children: &[Child], count: u64) -> Result<Encoded> {
        let mut all = Vec::with_capacity(children.len());
        for child in children {
            all.push(encode_node::Child { last: decode(&child.last)?, address: child.address });
        }
        let addresses: Vec<_> = children.iter().map(|child| child.address).collect();
        let address = if self.crypto_hash { hasch::of_addresses(&addresses) } else { self.address() };
        let value = encode_node::branch(level, &all, count, self.branching_factor).map_err(refused)?;
        Ok(Encoded { address, value })
    }
}

pub(super) fn decode(datom: &[u8]) -> Result<Datom<'_>> {
    decode_key(datom).map_err(|e| Error::damaged("sorted row", e))
}

pub(super) fn refused(why: EncodeError) -> Error {
    Error::new(ErrorKind::Data, "datom", "cannot be written").because(why)
}
