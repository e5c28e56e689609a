//! The files of a recording while they are written: gzip-compressed JSON lines, a question and its
//! answer each.
//!
//! They come to be beside the directory that was asked for, and take its name once all of them are
//! whole: whatever is found under that name is a whole recording.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, BufWriter, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use flate2::{Compression, write::GzEncoder};
use serde::Serialize;
use serde_json::{Value, value::RawValue};

/// A recording that is being written.
#[derive(Debug)]
pub(super) struct Files {
    directory: PathBuf,
    unfinished: PathBuf,
    pub(super) blocks: Lines,
    pub(super) versions: Lines,
    pub(super) txs: Lines,
    pub(super) final_state: Lines,
    pub(super) history: Lines,
    pub(super) node: Lines,
}

/// One file.
#[derive(Debug)]
pub(super) struct Lines {
    writer: GzEncoder<BufWriter<File>>,
}

/// What a node answered.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Said {
    Result(Box<RawValue>),
    Error { code: i64, message: String },
}

impl Files {
    /// Begins a recording that will be found in `directory`.
    ///
    /// # Errors
    ///
    /// When there is something of that name already, or it cannot be written.
    pub(super) fn create(directory: &Path) -> io::Result<Self> {
        if directory.exists() {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "there is something of that name already; take another --out",
            ));
        }
        let mut name = directory.file_name().map_or_else(OsString::new, OsString::from);
        name.push(".unfinished-");
        let parent = match directory.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        fs::create_dir_all(parent)?;
        // Each attempt has a directory of its own, so that none takes what another one writes for its own.
        let unfinished = tempfile::Builder::new()
            .prefix(&name)
            .permissions(fs::Permissions::from_mode(0o777))
            .tempdir_in(parent)?
            .keep();
        let open = |name: &str| Lines::create(&unfinished.join(format!("{name}.jsonl.gz")));
        Ok(Self {
            directory: directory.to_owned(),
            blocks: open("blocks")?,
            versions: open("versions")?,
            txs: open("txs")?,
            final_state: open("final_state")?,
            history: open("history")?,
            node: open("node")?,
            unfinished,
        })
    }

    /// Ends every file, and gives the recording its name.
    pub(super) fn finish(self) -> io::Result<()> {
        let Self { directory, unfinished, blocks, versions, txs, final_state, history, node } =
            self;
        let finish = || -> io::Result<()> {
            for lines in [blocks, versions, txs, final_state, history, node] {
                lines.finish()?;
            }
            fs::rename(&unfinished, directory)
        };
        finish().inspect_err(|_| {
            // A part of a recording is of no use to anybody.
            let _gone = fs::remove_dir_all(&unfinished);
        })
    }

    /// Removes what was written, because it will not be finished.
    pub(super) fn abandon(self) {
        // Somebody who removed it before did the same.
        let _gone = fs::remove_dir_all(&self.unfinished);
    }
}

impl Lines {
    fn create(path: &Path) -> io::Result<Self> {
        let file = BufWriter::new(File::create_new(path)?);
        Ok(Self { writer: GzEncoder::new(file, Compression::default()) })
    }

    /// Writes a question and its answer.
    pub(super) fn exchange(
        &mut self,
        method: &str,
        params: Option<&Value>,
        said: &Said,
    ) -> io::Result<()> {
        #[derive(Serialize)]
        struct Exchange<'a> {
            method: &'a str,
            params: Option<&'a Value>,
            #[serde(flatten)]
            said: &'a Said,
        }
        self.line(&Exchange { method, params, said })
    }

    /// Writes anything as a line.
    pub(super) fn line(&mut self, line: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.writer, line)?;
        self.writer.write_all(b"\n")
    }

    fn finish(self) -> io::Result<()> {
        let file = self.writer.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()
    }
}
