//! Copies of the recorded chains, intact or damaged on purpose.

use std::{
    fs::{self, File},
    io::{Read, Write},
    path::{Path, PathBuf},
};

use flate2::{Compression, read::MultiGzDecoder, write::GzEncoder};
use tempfile::TempDir;

/// A recording that comes with the project.
pub(crate) fn recording(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/recordings").join(name)
}

/// A copy of a recording that may be altered.
#[derive(Debug)]
pub(crate) struct Copy {
    directory: TempDir,
}

impl Copy {
    pub(crate) fn of(name: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(recording(name)).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), directory.path().join(entry.file_name())).unwrap();
        }
        Self { directory }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Rewrites the lines of a file.
    pub(crate) fn edit(self, file: &str, edit: impl FnOnce(&mut Vec<String>)) -> Self {
        let path = self.path().join(file);
        let mut text = String::new();
        MultiGzDecoder::new(File::open(&path).unwrap()).read_to_string(&mut text).unwrap();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        edit(&mut lines);
        let mut encoder = GzEncoder::new(File::create(&path).unwrap(), Compression::fast());
        encoder.write_all(lines.join("\n").as_bytes()).unwrap();
        encoder.finish().unwrap();
        self
    }

    /// Replaces a text in the first line that has it after `from` lines, once. It has to be there.
    #[track_caller]
    pub(crate) fn replace(self, file: &str, from: usize, old: &str, new: &str) -> Self {
        self.edit(file, |lines| {
            let line = lines.iter_mut().skip(from).find(|line| line.contains(old));
            let line = line.unwrap_or_else(|| panic!("{file} has no {old}"));
            *line = line.replacen(old, new, 1);
        })
    }

    /// Puts the text of every compressed file into a plain one instead.
    pub(crate) fn plain(self) -> Self {
        for entry in fs::read_dir(self.path()).unwrap() {
            let path = entry.unwrap().path();
            let mut text = Vec::new();
            MultiGzDecoder::new(File::open(&path).unwrap()).read_to_end(&mut text).unwrap();
            fs::write(path.with_extension(""), text).unwrap();
            fs::remove_file(path).unwrap();
        }
        self
    }

    pub(crate) fn without(self, file: &str) -> Self {
        fs::remove_file(self.path().join(file)).unwrap();
        self
    }

    pub(crate) fn truncated(self, file: &str) -> Self {
        let path = self.path().join(file);
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() - 7]).unwrap();
        self
    }

    pub(crate) fn with_flipped_byte(self, file: &str) -> Self {
        self.with_flipped_byte_at(file, |length| length / 2)
    }

    /// The checksum is in front of the length of the text, four bytes each.
    pub(crate) fn with_wrong_checksum(self, file: &str) -> Self {
        self.with_flipped_byte_at(file, |length| length - 8)
    }

    fn with_flipped_byte_at(self, file: &str, place: impl FnOnce(usize) -> usize) -> Self {
        let path = self.path().join(file);
        let mut bytes = fs::read(&path).unwrap();
        let place = place(bytes.len());
        bytes[place] ^= 0x10;
        fs::write(&path, &bytes).unwrap();
        self
    }
}
