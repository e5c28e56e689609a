//! Transactions: who spends what for whom, under which nonce, and who signed it.
//!
//! The fields are those of the binary form and in its order, because the hash is taken over it. The
//! kind of fee is the one thing that the node's JSON does not show; it is told from the hash.

use std::fmt;

use storage_snapshot::{
    Address, Amount, AssetId, BlockHash, MultisigConfig, Nonce, TopoHeight, TxHash,
};

use super::{EncodeError, OpaqueData, OpaqueKind};

/// One signed transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// blake3 of the complete binary form, signatures included.
    pub hash: TxHash,
    /// The layout of the binary form; 0 is the only one that is known.
    pub version: u8,
    /// The account that spends, pays and signs.
    pub source: Address,
    /// What it does.
    pub data: TransactionData,
    /// What it offers to the miner, in the native asset; paid in full.
    pub fee: Amount,
    /// In which currency the fee is taken from the source.
    pub fee_type: FeeType,
    /// Its number among the transactions of the source.
    pub nonce: Nonce,
    /// The block whose state the sender knew.
    pub reference: Reference,
    /// What the participants signed, if the source is a multisig account.
    pub multisig: Option<Vec<MultisigSignature>>,
    /// The signature of the source. It is carried, not verified.
    pub signature: [u8; 64],
}

/// What a transaction does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransactionData {
    /// Amounts move to other accounts. Destinations may repeat.
    Transfers(Vec<Transfer>),
    /// An amount ceases to exist.
    Burn {
        /// Of which asset.
        asset: AssetId,
        /// How much of it.
        amount: Amount,
    },
    /// The source becomes a multisig account, or stops being one when the threshold is 0.
    Multisig(MultisigConfig),
    /// Something that is not executed here.
    /// Boxed, because few transactions are and every one would have room for it.
    Opaque(Box<OpaqueData>),
}

/// One output of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// Of which asset.
    pub asset: AssetId,
    /// To whom.
    pub destination: Address,
    /// How much; zero is allowed.
    pub amount: Amount,
    /// Bytes for the receiver. They have no effect on state.
    pub extra_data: Option<Vec<u8>>,
}

/// What pays for a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeeType {
    /// The native asset.
    Tos,
    /// Energy, one unit per output.
    Energy,
}

/// A block that the sender knew, and where it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The block. It need not exist any more.
    pub hash: BlockHash,
    /// Its position when the transaction was made.
    pub topoheight: TopoHeight,
}

/// The signature of one participant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MultisigSignature {
    /// The participant's index in the account's configuration.
    pub id: u8,
    /// Over the blake3 of the signed bytes. It is carried, not verified.
    pub signature: [u8; 64],
}

impl Transaction {
    /// The accounts that it names: its source, and then its destinations in order.
    pub fn accounts(&self) -> impl Iterator<Item = &Address> {
        let transfers = match &self.data {
            TransactionData::Transfers(transfers) => transfers.as_slice(),
            TransactionData::Burn { .. }
            | TransactionData::Multisig(_)
            | TransactionData::Opaque(_) => &[],
        };
        std::iter::once(&self.source).chain(transfers.iter().map(|transfer| &transfer.destination))
    }

    /// The same content under its own hash, whatever `hash` was before.
    ///
    /// # Errors
    ///
    /// When the content has no binary form.
    pub fn seal(mut self) -> Result<Self, EncodeError> {
        self.hash = self.computed_hash()?;
        Ok(self)
    }

    /// The hash of the content.
    ///
    /// # Errors
    ///
    /// When the content has no binary form.
    pub fn computed_hash(&self) -> Result<TxHash, EncodeError> {
        Ok(hash_of(&self.to_bytes()?))
    }

    /// Why the transaction is not executed here, if it is not.
    ///
    /// What it does comes first: a contract call that pays with energy is a contract call.
    pub const fn opaque_kind(&self) -> Option<OpaqueKind> {
        match (&self.data, self.fee_type) {
            (TransactionData::Opaque(data), _) => Some(data.kind()),
            (_, FeeType::Energy) => Some(OpaqueKind::EnergyFee),
            (_, FeeType::Tos) => None,
        }
    }
}

impl fmt::Display for FeeType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tos => "TOS",
            Self::Energy => "energy",
        })
    }
}

/// The name of a transaction with this binary form.
pub(super) fn hash_of(bytes: &[u8]) -> TxHash {
    TxHash::new(*blake3::hash(bytes).as_bytes())
}
