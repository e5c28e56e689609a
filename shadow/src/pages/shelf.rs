//! The shelf: the directories with evidence that there are, and nothing else.
//!
//! Whoever asks names a directory and a file. Neither is ever made into a path: both are looked for among
//! the names that are there, so that no name leads anywhere else. Links are not followed.

use std::{
    fs::{self, DirEntry, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use flate2::{Compression, write::GzEncoder};
use storage_snapshot::TopoHeight;

use crate::evidence::{MANIFEST, is_unfinished};

/// The directories with evidence.
#[derive(Clone, Debug)]
pub(super) struct Shelf(PathBuf);

/// One of them.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) name: String,
    path: PathBuf,
}

/// A file in one of them.
#[derive(Clone, Debug)]
pub(super) struct KeptFile {
    pub(super) name: String,
    pub(super) bytes: u64,
    path: PathBuf,
}

impl Shelf {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self(directory)
    }

    /// All of them, those of the newest blocks first.
    pub(super) fn all(&self) -> io::Result<Vec<Kept>> {
        let mut all: Vec<_> = entries(&self.0)?.into_iter().filter_map(Kept::of).collect();
        all.sort_by(|a, b| (b.topoheight(), &a.name).cmp(&(a.topoheight(), &b.name)));
        Ok(all)
    }

    /// The one of this name.
    pub(super) fn named(&self, name: &str) -> io::Result<Option<Kept>> {
        let named = entries(&self.0)?.into_iter().find(|entry| *entry.file_name() == *name);
        Ok(named.and_then(Kept::of))
    }

    /// The one that an entry of the ledger refers to.
    pub(super) fn referred(&self, reference: &str) -> io::Result<Option<Kept>> {
        match Path::new(reference).file_name().and_then(|name| name.to_str()) {
            Some(name) => self.named(name),
            None => Ok(None),
        }
    }

    /// Those about blocks at a topoheight, in the order of their names.
    pub(super) fn at(&self, topoheight: TopoHeight) -> io::Result<Vec<Kept>> {
        let mut here: Vec<_> = entries(&self.0)?
            .into_iter()
            .filter_map(Kept::of)
            .filter(|kept| kept.topoheight() == Some(topoheight.as_u64()))
            .collect();
        here.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(here)
    }
}

impl Kept {
    fn of(entry: DirEntry) -> Option<Self> {
        let name = entry.file_name().into_string().ok()?;
        let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let path = entry.path();
        let is_evidence = is_directory
            && is_plain(&name)
            && !is_unfinished(&name)
            && fs::symlink_metadata(path.join(MANIFEST)).is_ok_and(|file| file.is_file());
        is_evidence.then_some(Self { name, path })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where the block was that it is about, by its name.
    pub(super) fn topoheight(&self) -> Option<u64> {
        self.name.split('_').next()?.parse().ok()
    }

    /// Its files, in order.
    pub(super) fn files(&self) -> io::Result<Vec<KeptFile>> {
        let mut files: Vec<_> = entries(&self.path)?.into_iter().filter_map(KeptFile::of).collect();
        files.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(files)
    }

    /// The file of this name.
    pub(super) fn file(&self, name: &str) -> io::Result<Option<KeptFile>> {
        Ok(self.files()?.into_iter().find(|file| file.name == name))
    }

    /// Writes all of it as one compressed archive.
    pub(super) fn pack(&self, to: impl Write) -> io::Result<()> {
        let mut archive = tar::Builder::new(GzEncoder::new(to, Compression::fast()));
        archive.mode(tar::HeaderMode::Deterministic);
        for file in self.files()? {
            let name = format!("{}/{}", self.name, file.name);
            archive.append_file(name, &mut file.open()?)?;
        }
        archive.into_inner()?.finish()?.flush()
    }
}

impl KeptFile {
    fn of(entry: DirEntry) -> Option<Self> {
        let name = entry.file_name().into_string().ok()?;
        let metadata = entry.metadata().ok()?;
        let is_shown = metadata.is_file() && is_plain(&name) && !is_unfinished(&name);
        is_shown.then(|| Self { name, bytes: metadata.len(), path: entry.path() })
    }

    pub(super) fn open(&self) -> io::Result<File> {
        File::open(&self.path)
    }
}

/// Whether a name is one that evidence is written under: it can stand in an address as it is.
fn is_plain(name: &str) -> bool {
    name.chars().all(|char| char.is_ascii_alphanumeric() || matches!(char, '.' | '_' | '-'))
}

/// What is in a directory; nothing if it is not there.
fn entries(directory: &Path) -> io::Result<Vec<DirEntry>> {
    match fs::read_dir(directory) {
        Ok(entries) => entries.collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Read, os::unix::fs::symlink};

    use flate2::read::GzDecoder;

    use super::*;

    fn shelf() -> (tempfile::TempDir, Shelf) {
        let root = tempfile::tempdir().unwrap();
        let shelf = root.path().join("evidence");
        fs::create_dir_all(shelf.join("7_abc_v3")).unwrap();
        fs::create_dir_all(shelf.join("12_abc_v3")).unwrap();
        fs::create_dir_all(shelf.join(".unfinished-x")).unwrap();
        fs::create_dir_all(shelf.join("9_no_manifest")).unwrap();
        fs::create_dir_all(shelf.join("9_<b>")).unwrap();
        for name in ["7_abc_v3", "12_abc_v3", ".unfinished-x", "9_<b>"] {
            fs::write(shelf.join(name).join(MANIFEST), "{}").unwrap();
        }
        fs::write(shelf.join("7_abc_v3/log.txt"), "a log").unwrap();
        fs::write(root.path().join("secret"), "secret").unwrap();
        symlink(root.path().join("secret"), shelf.join("7_abc_v3/link")).unwrap();
        symlink(root.path(), shelf.join("8_link")).unwrap();
        (root, Shelf::new(shelf))
    }

    #[test]
    fn only_what_is_there_has_a_name() {
        let (_root, shelf) = shelf();
        let names: Vec<_> = shelf.all().unwrap().into_iter().map(|kept| kept.name).collect();
        assert_eq!(names, ["12_abc_v3", "7_abc_v3"]);
        for name in
            ["", ".", "..", "../evidence", "7_abc_v3/", ".unfinished-x", "8_link", "/", "9_<b>"]
        {
            assert!(shelf.named(name).unwrap().is_none(), "{name}");
        }
        let kept = shelf.named("7_abc_v3").unwrap().unwrap();
        for name in ["", ".", "..", "../../secret", "link", "/etc/passwd", "log.txt\0"] {
            assert!(kept.file(name).unwrap().is_none(), "{name}");
        }
        let log = kept.file("log.txt").unwrap().unwrap();
        assert_eq!(io::read_to_string(log.open().unwrap()).unwrap(), "a log");
        assert_eq!(shelf.at(TopoHeight::new(7)).unwrap().len(), 1);
        assert!(shelf.referred("/somewhere/else/7_abc_v3").unwrap().is_some());
        assert!(shelf.referred("..").unwrap().is_none());
    }

    #[test]
    fn a_shelf_that_is_not_there_is_empty() {
        assert!(Shelf::new(PathBuf::from("/nowhere/at/all")).all().unwrap().is_empty());
    }

    #[test]
    fn an_archive_holds_the_files_and_no_links() {
        let (_root, shelf) = shelf();
        let mut packed = Vec::new();
        shelf.named("7_abc_v3").unwrap().unwrap().pack(&mut packed).unwrap();
        let mut archive = tar::Archive::new(GzDecoder::new(&*packed));
        let files: Vec<_> = archive
            .entries()
            .unwrap()
            .map(|entry| {
                let mut entry = entry.unwrap();
                let mut text = String::new();
                entry.read_to_string(&mut text).unwrap();
                (entry.path().unwrap().display().to_string(), text)
            })
            .collect();
        let expected = [("7_abc_v3/evidence.json", "{}"), ("7_abc_v3/log.txt", "a log")];
        assert_eq!(files, expected.map(|(name, text)| (name.to_owned(), text.to_owned())));
    }
}
