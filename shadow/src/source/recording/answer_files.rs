//! The node's answers about state: which files they are in, and to which block each belongs.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    path::PathBuf,
    sync::Arc,
};

use serde::Deserialize;
use serde_json::value::RawValue;
use storage_snapshot::{Address, AssetId, BlockHash, StateKey, StateValue, TopoHeight, TxHash};

use super::{
    NodeAnswers, RecordingError,
    lines::{Exchange, Line, Lines},
};
use crate::{
    chain::{Block, Network},
    source::{
        CurrentValue, Payout, VersionAnswer,
        answer_json::{self, Info},
    },
};

/// All answers of a recording, taken out block by block.
#[derive(Debug)]
pub(super) struct AnswerFiles {
    network: Network,
    versions: HashMap<TopoHeight, Vec<(StateKey, VersionAnswer)>>,
    /// The last topoheight that somebody asked about by name.
    asked_through: Option<TopoHeight>,
    walked: Arc<HashSet<StateKey>>,
    executed: HashMap<BlockHash, HashMap<TxHash, bool>>,
    payouts: HashMap<TxHash, Vec<Payout>>,
    current: Vec<CurrentValue>,
    /// What the node said of itself when everything else had been asked.
    end: Option<Info>,
}

impl AnswerFiles {
    /// The names of the files that hold answers.
    pub(super) const NAMES: [&str; 5] = ["versions", "history", "txs", "final_state", "node"];

    /// Reads the files that hold answers, each to its end; those that a recording lacks were never asked for.
    ///
    /// # Errors
    ///
    /// When one of them is damaged, or about another network.
    pub(super) fn read(
        files: &HashMap<String, PathBuf>,
        network: Network,
    ) -> Result<Self, RecordingError> {
        let mut answers = Self {
            network,
            versions: HashMap::new(),
            asked_through: None,
            walked: Arc::default(),
            executed: HashMap::new(),
            payouts: HashMap::new(),
            current: Vec::new(),
            end: None,
        };
        let (mut walks, mut walked) = (Walks::default(), HashSet::new());
        let [versions, history, txs, final_state, node] = Self::NAMES.map(|name| files.get(name));
        for_each_line(versions, |line| answers.read_version(line))?;
        answers.check_agreement(versions)?;
        for_each_line(history, |line| answers.read_history(line, &mut walks))?;
        for_each_line(txs, |line| answers.read_transaction(line))?;
        for_each_line(final_state, |line| answers.read_final_state(line, &mut walked))?;
        for_each_line(node, |line| answers.read_node(line))?;
        walked.extend(walks.complete(&answers.current));
        answers.walked = Arc::new(walked);
        Ok(answers)
    }

    /// The answers about one block. Those about the end of the chain belong to the last one.
    ///
    /// # Errors
    ///
    /// When this is the last block and there are answers about later ones: then blocks are missing,
    /// and what the node said of them would go unnoticed.
    pub(super) fn take(
        &mut self,
        block: &Block,
        is_last: bool,
    ) -> Result<NodeAnswers, RecordingError> {
        let mut payouts = HashMap::new();
        for transaction in &block.transactions {
            if let Some(outputs) = self.payouts.get(&transaction.hash) {
                payouts.insert(transaction.hash, outputs.clone());
            }
        }
        let mut answers = NodeAnswers {
            versions: self.versions.remove(&block.topoheight).unwrap_or_default(),
            walked: Arc::clone(&self.walked),
            executed: self.executed.remove(&block.hash).unwrap_or_default(),
            payouts,
            ..NodeAnswers::default()
        };
        if is_last {
            self.check_end(block)?;
            answers.current = std::mem::take(&mut self.current);
            answers.burned_supply = self.end.take().map(|end| end.burned_supply);
        }
        Ok(answers)
    }

    fn check_end(&self, last: &Block) -> Result<(), RecordingError> {
        let cut = |beyond| Err(RecordingError::Cut { last: last.topoheight, beyond });
        if let Some(asked) = self.asked_through.filter(|asked| *asked > last.topoheight) {
            return cut(format!("versions were asked for up to {asked}"));
        }
        match &self.end {
            Some(end) if (end.topoheight, end.top_block_hash) != (last.topoheight, last.hash) => {
                cut(format!(
                    "the node had block {} at topoheight {} on top when it was asked",
                    end.top_block_hash, end.topoheight
                ))
            }
            _ => Ok(()),
        }
    }

    fn read_version(&mut self, line: &Line<'_>) -> Result<(), RecordingError> {
        let exchange = line.exchange()?;
        let known =
            ["get_nonce_at_topoheight", "get_multisig_at_topoheight", "get_balance_at_topoheight"];
        // Questions of other kinds may be recorded beside these.
        if !known.contains(&&*exchange.method) {
            return Ok(());
        }
        let question: KeyAtTopoHeight<'_> = line.params(&exchange)?;
        let account = self.account_of(line, &question.address)?;
        let key = match &*exchange.method {
            "get_nonce_at_topoheight" => StateKey::Nonce(account),
            "get_multisig_at_topoheight" => StateKey::Multisig(account),
            _ => StateKey::Balance(account, question.asset(line)?),
        };
        let Some(topoheight) = question.topoheight else {
            return Err(line.error("params: no topoheight".to_owned()));
        };
        let answer = match (exchange.result, &exchange.error) {
            (Some(result), _) => VersionAnswer::Written(self.value_of(line, &key, result)?),
            (None, Some(error)) if error.is_not_found() => VersionAnswer::NotWritten,
            // The node did not answer the question.
            (None, _) => return Ok(()),
        };
        self.asked_through = self.asked_through.max(Some(topoheight));
        self.versions.entry(topoheight).or_default().push((key, answer));
        Ok(())
    }

    /// Whether the file that the versions are from has one answer to each question. Two of them would be put
    /// down to the node.
    fn check_agreement(&self, path: Option<&PathBuf>) -> Result<(), RecordingError> {
        let mut known: HashMap<_, _, ahash::RandomState> = HashMap::default();
        for (topoheight, answers) in &self.versions {
            known.clear();
            for (key, answer) in answers {
                let other = known.insert(key, answer).filter(|other| *other != answer);
                if let (Some(_), Some(path)) = (other, path) {
                    let (path, topoheight, key) = (path.clone(), *topoheight, *key);
                    return Err(RecordingError::Contradiction { path, topoheight, key });
                }
            }
        }
        Ok(())
    }

    fn read_history(&mut self, line: &Line<'_>, walks: &mut Walks) -> Result<(), RecordingError> {
        let version: HistoricVersion<'_> = line.json()?;
        let account = self.account_of(line, &version.address)?;
        let key = match &*version.k {
            "nonce" => StateKey::Nonce(account),
            "multisig" => StateKey::Multisig(account),
            "balance" => {
                let Some(asset) = version.asset else {
                    return Err(line.error("a balance without asset".to_owned()));
                };
                StateKey::Balance(account, asset)
            }
            _ => return Ok(()),
        };
        let Some(result) = version.result else { return Ok(()) };
        // The versions of a multisig do not say which one was before.
        if !matches!(key, StateKey::Multisig(_)) {
            let previous =
                answer_json::previous_of(result).map_err(|error| line.answer_error(&error))?;
            walks.add(key, version.topoheight, previous);
        }
        let answer = VersionAnswer::Written(self.value_of(line, &key, result)?);
        self.versions.entry(version.topoheight).or_default().push((key, answer));
        Ok(())
    }

    fn read_transaction(&mut self, line: &Line<'_>) -> Result<(), RecordingError> {
        let exchange = line.exchange()?;
        match &*exchange.method {
            "is_tx_executed_in_block" => {
                let Some(result) = exchange.result else { return Ok(()) };
                let question: ExecutedInBlock = line.params(&exchange)?;
                let executed = line.part(result, "result")?;
                let block = self.executed.entry(question.block_hash).or_default();
                if block.insert(question.tx_hash, executed).is_some_and(|other| other != executed) {
                    return Err(line.error("an earlier line answers otherwise".to_owned()));
                }
            }
            "get_contract_outputs" => {
                let Some(result) = exchange.result else { return Ok(()) };
                let question: ContractOutputs = line.params(&exchange)?;
                let outputs = answer_json::payouts_of(result, self.network)
                    .map_err(|error| line.answer_error(&error))?;
                self.payouts.insert(question.transaction, outputs);
            }
            _ => {}
        }
        Ok(())
    }

    fn read_final_state(
        &mut self,
        line: &Line<'_>,
        walked: &mut HashSet<StateKey>,
    ) -> Result<(), RecordingError> {
        let exchange = line.exchange()?;
        let known =
            ["get_nonce", "get_balance", "get_multisig", "get_account_registration_topoheight"];
        if !known.contains(&&*exchange.method) {
            return Ok(());
        }
        let question: KeyAtTopoHeight<'_> = line.params(&exchange)?;
        let account = self.account_of(line, &question.address)?;
        let key = match &*exchange.method {
            "get_nonce" => StateKey::Nonce(account),
            "get_multisig" => StateKey::Multisig(account),
            "get_balance" => StateKey::Balance(account, question.asset(line)?),
            _ => return self.read_registration(line, &exchange, account, walked),
        };
        let (value, written_at) = match (exchange.result, &exchange.error) {
            (Some(result), _) => {
                let at =
                    answer_json::written_at(result).map_err(|error| line.answer_error(&error))?;
                (self.value_of(line, &key, result)?, Some(at))
            }
            (None, Some(error)) if error.is_not_found() => (None, None),
            (None, _) => return Ok(()),
        };
        self.current.push(CurrentValue { key, value, written_at });
        Ok(())
    }

    fn read_registration(
        &mut self,
        line: &Line<'_>,
        exchange: &Exchange<'_>,
        account: Address,
        walked: &mut HashSet<StateKey>,
    ) -> Result<(), RecordingError> {
        if let Some(result) = exchange.result {
            let key = StateKey::Registered(account);
            let topoheight: TopoHeight = line.part(result, "result")?;
            let answer = VersionAnswer::Written(Some(StateValue::Registered));
            self.versions.entry(topoheight).or_default().push((key, answer));
            walked.insert(key);
        }
        Ok(())
    }

    fn read_node(&mut self, line: &Line<'_>) -> Result<(), RecordingError> {
        let exchange = line.exchange()?;
        if exchange.method == "get_info"
            && let Some(result) = exchange.result
        {
            self.end = Some(line.part(result, "result")?);
        }
        Ok(())
    }

    fn value_of(
        &self,
        line: &Line<'_>,
        key: &StateKey,
        result: &RawValue,
    ) -> Result<Option<StateValue>, RecordingError> {
        answer_json::value_of(key, result, self.network).map_err(|error| line.answer_error(&error))
    }

    fn account_of(&self, line: &Line<'_>, address: &str) -> Result<Address, RecordingError> {
        answer_json::account_of(address, self.network).map_err(|error| line.answer_error(&error))
    }
}

/// The versions of keys, walked back one by one. A walk is complete when it began with the newest version,
/// reached the first one, and every version on the way is there.
#[derive(Debug, Default)]
struct Walks(HashMap<StateKey, Walk>);

#[derive(Debug, Default)]
struct Walk {
    found: HashSet<TopoHeight>,
    named: HashSet<TopoHeight>,
    reached_first: bool,
}

impl Walks {
    fn add(&mut self, key: StateKey, at: TopoHeight, previous: Option<TopoHeight>) {
        let walk = self.0.entry(key).or_default();
        walk.found.insert(at);
        match previous {
            Some(previous) => drop(walk.named.insert(previous)),
            None => walk.reached_first = true,
        }
    }

    /// The keys of which every version is there, of those whose newest one is known.
    fn complete(&self, newest: &[CurrentValue]) -> impl Iterator<Item = StateKey> {
        newest.iter().filter_map(|CurrentValue { key, written_at, .. }| {
            let walk = self.0.get(key)?;
            let began_with_newest = walk.found.iter().max() == written_at.as_ref();
            let is_complete =
                began_with_newest && walk.reached_first && walk.named.is_subset(&walk.found);
            is_complete.then_some(*key)
        })
    }
}

fn for_each_line(
    path: Option<&PathBuf>,
    mut read: impl FnMut(&Line<'_>) -> Result<(), RecordingError>,
) -> Result<(), RecordingError> {
    let Some(path) = path else { return Ok(()) };
    let mut lines = Lines::open(path)?;
    while let Some(line) = lines.next()? {
        if let Err(error) = read(&line) {
            // If the checksum does not hold the file is damaged, and what is wrong with a line says nothing.
            lines.verify()?;
            return Err(error);
        }
    }
    Ok(())
}

#[derive(Deserialize)]
struct KeyAtTopoHeight<'a> {
    #[serde(borrow)]
    address: Cow<'a, str>,
    asset: Option<AssetId>,
    topoheight: Option<TopoHeight>,
}

impl KeyAtTopoHeight<'_> {
    fn asset(&self, line: &Line<'_>) -> Result<AssetId, RecordingError> {
        self.asset.ok_or_else(|| line.error("params: no asset".to_owned()))
    }
}

#[derive(Deserialize)]
struct HistoricVersion<'a> {
    #[serde(borrow)]
    k: Cow<'a, str>,
    #[serde(borrow)]
    address: Cow<'a, str>,
    asset: Option<AssetId>,
    topoheight: TopoHeight,
    #[serde(borrow, default)]
    result: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct ExecutedInBlock {
    tx_hash: TxHash,
    block_hash: BlockHash,
}

#[derive(Deserialize)]
struct ContractOutputs {
    transaction: TxHash,
}
