//! A recorded chain as something to serve: each block with the versions that the node had there.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    path::Path,
};

use serde::Deserialize;
use serde_json::{Map, Value, value::RawValue};
use storage_snapshot::{
    Address, Amount, AssetId, BlockFacts, MultisigConfig, Nonce, StateKey, StateValue, TopoHeight,
    TxHash,
};

use super::{
    DevnetError,
    methods::canonical,
    served_block::ServedBlock,
    served_chain::{AtTheEnd, NextBlock, Recorded, ServedChain},
    versions::{Movement, Version},
};
use crate::{
    chain::{Block, BlockType, NetworkAddress, TransactionData},
    opaque::burned_gas,
    source::{
        BlockSource, ChainEvent, NodeAnswers, Recording, SourceError,
        recording::{
            RecordingError, files_of,
            lines::{Line, Lines},
        },
    },
};

/// The blocks of a recording, one after another.
#[derive(Debug)]
pub(super) struct RecordedBlocks {
    recording: Recording,
    /// The same blocks as they were written.
    blocks: Option<Lines>,
    versions: HashMap<TopoHeight, BTreeMap<StateKey, Version>>,
    outputs: HashMap<TxHash, Box<RawValue>>,
    burned: Amount,
}

/// A block, and what is served of it.
#[derive(Debug)]
pub(super) struct RecordedBlock {
    pub(super) block: Block,
    pub(super) served: NextBlock,
}

impl RecordedBlocks {
    /// Opens a recording and gives the chain what is known of its end.
    ///
    /// # Errors
    ///
    /// When it is none, or damaged.
    pub(super) fn open(directory: &Path, chain: &mut ServedChain) -> Result<Self, DevnetError> {
        let recording = Recording::open(directory).map_err(input)?;
        chain.network = recording.network();
        let block_count = recording.block_count().unwrap_or_default();
        chain.at_the_end.block_count = usize::try_from(block_count).unwrap_or(usize::MAX);
        let files = files_of(directory).map_err(input)?;
        let open = |name| files.get(name).map(|path| Lines::open(path)).transpose();
        let mut feed = Self {
            recording,
            blocks: open("blocks").map_err(input)?,
            versions: HashMap::new(),
            outputs: HashMap::new(),
            burned: Amount::ZERO,
        };
        for name in ["versions", "history", "txs", "final_state", "node"] {
            let Some(mut lines) = open(name).map_err(input)? else { continue };
            while let Some(line) = lines.next().map_err(input)? {
                feed.read(name, &line, &mut chain.at_the_end).map_err(input)?;
            }
        }
        feed.register_the_others();
        Ok(feed)
    }

    /// The next block, ready to take its position.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub(super) fn next(&mut self) -> Result<Option<RecordedBlock>, DevnetError> {
        let Some(ChainEvent::Committed(next)) = self.recording.next_event()? else {
            return Ok(None);
        };
        let block = next.block;
        let json = self.next_json()?;
        self.burned = self.burned.saturating_add(burned_by(&block, &next.answers));
        let facts = BlockFacts {
            blue_score: block.blue_score,
            side_block: block.block_type == BlockType::Side,
            emitted_supply: block.claimed.supply,
            burned_supply: Some(self.burned),
        };
        let listed = || block.transaction_hashes();
        let executed = listed().filter(|hash| next.answers.executed.get(hash) == Some(&true));
        let outputs = listed().filter_map(|hash| Some((*hash, self.outputs.get(hash)?.clone())));
        let served = NextBlock {
            versions: self.versions.remove(&block.topoheight).into_iter().flatten().collect(),
            executed: executed.copied().collect(),
            outputs: outputs.collect(),
            block: ServedBlock::new(&block, facts, json)?,
        };
        Ok(Some(RecordedBlock { block, served }))
    }

    /// The key that receives the dev share.
    pub(super) fn dev(&self) -> Address {
        self.recording.identity().dev
    }

    fn next_json(&mut self) -> Result<Map<String, Value>, DevnetError> {
        let line = self.blocks.as_mut().map(Lines::next).transpose().map_err(input)?.flatten();
        // The recording has just read the same line.
        let Some(line) = line else { return Ok(Map::new()) };
        let exchange: BlockExchange = line.json().map_err(input)?;
        Ok(exchange.result)
    }

    fn read(
        &mut self,
        file: &str,
        line: &Line<'_>,
        end: &mut AtTheEnd,
    ) -> Result<(), RecordingError> {
        if file == "history" {
            return self.read_history(line);
        }
        let exchange: Exchange<'_> = line.json()?;
        match (&*exchange.method, exchange.result) {
            ("get_nonce_at_topoheight", Some(result)) => {
                let question: OfKey<'_> = part(line, exchange.params, "params")?;
                let key = StateKey::Nonce(account(line, &question.address)?);
                self.add_version(line, key, question.at(line)?, result)?;
            }
            ("get_balance_at_topoheight", Some(result)) => {
                let question: OfKey<'_> = part(line, exchange.params, "params")?;
                let asset = question.asset.unwrap_or(AssetId::NATIVE);
                let key = StateKey::Balance(account(line, &question.address)?, asset);
                self.add_version(line, key, question.at(line)?, result)?;
            }
            ("get_multisig_at_topoheight", Some(result)) => {
                let question: OfKey<'_> = part(line, exchange.params, "params")?;
                let key = StateKey::Multisig(account(line, &question.address)?);
                self.add_version(line, key, question.at(line)?, result)?;
            }
            ("get_account_registration_topoheight", Some(result)) => {
                let question: OfKey<'_> = part(line, exchange.params, "params")?;
                let at: TopoHeight = part(line, Some(result), "result")?;
                let key = StateKey::Registered(account(line, &question.address)?);
                let version = Version::new(Some(StateValue::Registered), None);
                self.versions.entry(at).or_default().insert(key, version);
            }
            ("get_contract_outputs", Some(result)) => {
                let question: OfTransaction = part(line, exchange.params, "params")?;
                self.outputs.insert(question.transaction, result.to_owned());
            }
            (method, result) => {
                let params = canonical(exchange.params.map_or("null", RawValue::get));
                let answer = match (result, exchange.error) {
                    (Some(result), _) => Recorded::Result(result.get().to_owned()),
                    (None, Some(error)) => {
                        Recorded::Error { code: error.code, message: error.message.into_owned() }
                    }
                    // A result of null.
                    (None, None) => Recorded::Result("null".to_owned()),
                };
                end.answers.insert((method.to_owned(), params), answer);
            }
        }
        Ok(())
    }

    fn read_history(&mut self, line: &Line<'_>) -> Result<(), RecordingError> {
        let version: Historic<'_> = line.json()?;
        let Some(result) = version.result else { return Ok(()) };
        let account = account(line, &version.address)?;
        let key = match &*version.k {
            "nonce" => StateKey::Nonce(account),
            "multisig" => StateKey::Multisig(account),
            "balance" => StateKey::Balance(account, version.asset.unwrap_or(AssetId::NATIVE)),
            _ => return Ok(()),
        };
        self.add_version(line, key, version.topoheight, result)
    }

    fn add_version(
        &mut self,
        line: &Line<'_>,
        key: StateKey,
        at: TopoHeight,
        result: &RawValue,
    ) -> Result<(), RecordingError> {
        let version: WireVersion = part(line, Some(result), "result")?;
        let value = match &key {
            StateKey::Nonce(_) => version.nonce.map(StateValue::Nonce),
            StateKey::Balance(..) => version.final_balance.map(StateValue::Balance),
            StateKey::Multisig(_) => match version.state {
                Some(WireMultisig::Active { participants, threshold }) => {
                    let participants = participants.iter().map(|address| account(line, address));
                    Some(StateValue::from(MultisigConfig {
                        threshold,
                        participants: participants.collect::<Result<_, _>>()?,
                    }))
                }
                Some(WireMultisig::Deleted) | None => None,
            },
            StateKey::Registered(_) => Some(StateValue::Registered),
        };
        let version = Version {
            value,
            previous: version.previous_topoheight,
            movement: match version.balance_type.as_deref() {
                Some("both") => Movement::Both,
                Some("output") => Movement::Output,
                _ => Movement::Input,
            },
            output_balance: version.output_balance,
        };
        // What was asked about by name comes first, and stays.
        self.versions.entry(at).or_default().entry(key).or_insert(version);
        Ok(())
    }

    /// Where nobody asked for a registration, it was with the first version of the account.
    fn register_the_others(&mut self) {
        let mut first: HashMap<Address, TopoHeight> = HashMap::new();
        let mut registered = std::collections::HashSet::new();
        for (at, versions) in &self.versions {
            for key in versions.keys() {
                if matches!(key, StateKey::Registered(_)) {
                    registered.insert(*key.account());
                }
                let known = first.entry(*key.account()).or_insert(*at);
                *known = (*known).min(*at);
            }
        }
        for (account, at) in first {
            if !registered.contains(&account) {
                let version = Version::new(Some(StateValue::Registered), None);
                let versions = self.versions.entry(at).or_default();
                versions.insert(StateKey::Registered(account), version);
            }
        }
    }
}

/// What a block burned of the native asset: by transactions that say so, and of the gas of contracts.
fn burned_by(block: &Block, answers: &NodeAnswers) -> Amount {
    let executed = block
        .transactions
        .iter()
        .filter(|transaction| answers.executed.get(&transaction.hash) == Some(&true));
    let amounts = executed.filter_map(|transaction| match &transaction.data {
        TransactionData::Burn { asset, amount } if *asset == AssetId::NATIVE => Some(*amount),
        TransactionData::Opaque(data) => {
            burned_gas(data.max_gas()?, answers.payouts.get(&transaction.hash))
        }
        _ => None,
    });
    amounts.fold(Amount::ZERO, Amount::saturating_add)
}

fn account(line: &Line<'_>, address: &str) -> Result<Address, RecordingError> {
    let parsed: Result<NetworkAddress, _> = address.parse();
    parsed
        .map(|NetworkAddress { account, .. }| account)
        .map_err(|error| line.error(format!("address: {error}")))
}

fn part<'a, T: Deserialize<'a>>(
    line: &Line<'a>,
    raw: Option<&'a RawValue>,
    name: &str,
) -> Result<T, RecordingError> {
    serde_json::from_str(raw.map_or("null", RawValue::get))
        .map_err(|error| line.error(format!("{name}: {error}")))
}

fn input(error: RecordingError) -> DevnetError {
    DevnetError::Source(SourceError::Input(Box::new(error)))
}

#[derive(Deserialize)]
struct BlockExchange {
    result: Map<String, Value>,
}

#[derive(Deserialize)]
struct Exchange<'a> {
    #[serde(borrow)]
    method: Cow<'a, str>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
    #[serde(borrow, default)]
    result: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<WireError<'a>>,
}

#[derive(Deserialize)]
struct WireError<'a> {
    code: i64,
    #[serde(borrow)]
    message: Cow<'a, str>,
}

#[derive(Deserialize)]
struct OfKey<'a> {
    #[serde(borrow)]
    address: Cow<'a, str>,
    asset: Option<AssetId>,
    topoheight: Option<TopoHeight>,
}

impl OfKey<'_> {
    fn at(&self, line: &Line<'_>) -> Result<TopoHeight, RecordingError> {
        self.topoheight.ok_or_else(|| line.error("params: no topoheight".to_owned()))
    }
}

#[derive(Deserialize)]
struct OfTransaction {
    transaction: TxHash,
}

#[derive(Deserialize)]
struct Historic<'a> {
    #[serde(borrow)]
    k: Cow<'a, str>,
    #[serde(borrow)]
    address: Cow<'a, str>,
    asset: Option<AssetId>,
    topoheight: TopoHeight,
    #[serde(borrow, default)]
    result: Option<&'a RawValue>,
}

/// A version of any key; each kind has some of the fields.
#[derive(Deserialize)]
struct WireVersion {
    nonce: Option<Nonce>,
    final_balance: Option<Amount>,
    output_balance: Option<Amount>,
    balance_type: Option<String>,
    state: Option<WireMultisig>,
    previous_topoheight: Option<TopoHeight>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum WireMultisig {
    Deleted,
    Active { participants: Vec<String>, threshold: u8 },
}
