//! From the text of a recording to verdicts, against reading that text.
//!
//! What is read is what a recording holds, lines of a question and its answer, and all of it is done that
//! replaying does: decoding, checking every hash, executing twice, comparing, keeping. The other side
//! parses the same lines into the same types, and does nothing with them. The same recording is replayed
//! from compressed lines as well, which are decompressed besides.

use std::{
    fs::File,
    hint::black_box,
    io::{BufWriter, Write},
    path::Path,
    sync::Arc,
    time::Duration,
};

use flate2::{Compression, write::GzEncoder};
use storage_snapshot::{StateDelta, Store, StoreOptions};

use super::{
    Length, ReplayRow, Report, medians, micros_each, pipeline::judge_of, speed_up, timed,
    workload::chain_options,
};
use crate::{
    chain::{block_to_json, parse_only},
    node::NodeCheck,
    source::{
        BlockSource, ChainEvent, ChainIdentity, CommittedBlock, GeneratedChain, GeneratedOptions,
        NodeAnswers, SourceError, recording::BlocksAhead,
    },
    verifier::{Verifier, VerifyError},
};

pub(super) fn measure(
    length: Length,
    workers: u32,
    report: &mut Report,
) -> Result<(), VerifyError> {
    let (blocks, rounds) = match length {
        Length::Full => (400, 11),
        Length::Quick => (200, 5),
    };
    let options = chain_options(100, blocks);
    let directory = tempfile::tempdir().map_err(SourceError::Io)?;
    let plain = directory.path().join("blocks.jsonl");
    let compressed = directory.path().join("blocks.jsonl.gz");
    let texts = record(options, &plain, &compressed)?;
    let [parsed, replayed, decompressed] = medians(
        rounds,
        [
            &mut || {
                let (parsed, time) = timed(|| {
                    texts.iter().try_for_each(|(text, _)| {
                        black_box(parse_only(text).map_err(input)?);
                        Ok::<(), SourceError>(())
                    })
                });
                parsed?;
                Ok(time)
            },
            &mut || replay(options, workers, &plain),
            &mut || replay(options, workers, &compressed),
        ],
    )?;
    let count = texts.iter().map(|(_, transactions)| transactions).sum();
    report.json_to_verdict = Some(speed_up(parsed, replayed));
    report.gzip_to_verdict = Some(speed_up(parsed, decompressed));
    report.replay = Some(ReplayRow {
        text_bytes: texts.iter().map(|(text, _)| text.len()).sum(),
        transactions: count,
        parsed_us: micros_each(parsed, count),
        replayed_us: micros_each(replayed, count),
        decompressed_us: micros_each(decompressed, count),
    });
    Ok(())
}

/// Replays the recording of a generated chain from this file.
fn replay(options: GeneratedOptions, workers: u32, path: &Path) -> Result<Duration, VerifyError> {
    let directory = tempfile::tempdir().map_err(SourceError::Io)?;
    let store = Store::open(directory.path(), StoreOptions::default())?;
    let chain = GeneratedChain::new(options);
    let judge = judge_of(&store, workers, &Arc::default())?;
    let verifier = Verifier::new(store, &chain, NodeCheck::Ignore, judge)?;
    // From when the file is opened on it is read ahead.
    let (verified, time) = timed(|| {
        let blocks = BlocksAhead::open(path).map_err(input)?;
        verifier.verify_chain(&mut Recorded { chain, blocks })
    });
    verified?;
    Ok(time)
}

/// Writes a generated chain as it would be recorded, plain and compressed, and returns the answers, each
/// with the number of its transactions.
fn record(
    options: GeneratedOptions,
    plain: &Path,
    compressed: &Path,
) -> Result<Vec<(String, usize)>, SourceError> {
    let create = |path| File::create(path).map_err(SourceError::Io);
    let mut lines = BufWriter::new(create(plain)?);
    let mut compressed = GzEncoder::new(create(compressed)?, Compression::default());
    let mut chain = GeneratedChain::new(options);
    let mut texts = Vec::new();
    while let Some(event) = chain.next_event()? {
        let ChainEvent::Committed(committed) = event else { continue };
        let at = committed.block.topoheight;
        let text = block_to_json(&committed.block).map_err(input)?;
        let method = "get_block_at_topoheight";
        let params = format!("{{\"topoheight\":{at}}}");
        let line = format!("{{\"method\":\"{method}\",\"params\":{params},\"result\":{text}}}\n");
        lines.write_all(line.as_bytes()).map_err(SourceError::Io)?;
        compressed.write_all(line.as_bytes()).map_err(SourceError::Io)?;
        texts.push((text, committed.block.transactions.len()));
    }
    lines.flush().map_err(SourceError::Io)?;
    compressed.finish().map_err(SourceError::Io)?;
    Ok(texts)
}

/// The recording of a generated chain, whose accounts had something before its first block.
struct Recorded {
    chain: GeneratedChain,
    blocks: BlocksAhead,
}

impl BlockSource for Recorded {
    fn identity(&self) -> &ChainIdentity {
        self.chain.identity()
    }

    fn base(&self) -> StateDelta {
        self.chain.base()
    }

    fn next_event(&mut self) -> Result<Option<ChainEvent>, SourceError> {
        let block = self.blocks.next().map_err(input)?;
        let committed = |block| CommittedBlock { block, answers: NodeAnswers::default() };
        Ok(block.map(|block| ChainEvent::Committed(Box::new(committed(block)))))
    }

    fn block_count(&self) -> Option<u64> {
        self.chain.block_count()
    }
}

fn input(error: impl std::error::Error + Send + Sync + 'static) -> SourceError {
    SourceError::Input(Box::new(error))
}
