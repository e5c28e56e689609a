//! The exit codes, which scripts rely on.

/// How a run of the program ended. Where two apply the worse one counts: 4, then 2, then 1, then 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    /// Nothing differs and enough was exercised.
    Clean = 0,
    /// Something differs.
    Mismatch = 1,
    /// The command line or the input is wrong.
    BadInput = 2,
    /// Nothing differs, but too little was exercised to say so.
    NotEnoughEvidence = 3,
    /// Disk, lock, network or machine failed.
    Infrastructure = 4,
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code as u8)
    }
}
