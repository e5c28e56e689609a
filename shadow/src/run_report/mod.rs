//! The report of one run, as files: for a person who has never seen the project, for whoever reads test
//! results, and for programs.
//!
//! They are there before the run begins and say that it has not ended, so that a run that is killed leaves
//! a failure behind, and not the answer of an earlier one.

pub(crate) mod about;
mod chart;
pub(crate) mod confidence;
pub(crate) mod figures;
pub(crate) mod files;
mod findings;
pub(crate) mod headline;
pub(crate) mod junit;
pub(crate) mod markdown;
pub(crate) mod page;
pub(crate) mod speed_up;
mod track;

use std::path::Path;

pub(crate) use findings::{Findings, Lags};

use self::{
    about::About,
    figures::Figures,
    files::{CHART, JUNIT, REPORT, ReportError, ReportFiles, SUMMARY},
    headline::Headline,
    page::Page,
};
use crate::summary::Summary;

/// The report of a run.
#[derive(Debug)]
pub(crate) struct RunReport {
    files: ReportFiles,
    about: About,
}

impl RunReport {
    /// Says in a directory that a run was begun.
    ///
    /// # Errors
    ///
    /// When the directory cannot be written to.
    pub(crate) fn begin(directory: &Path, about: About) -> Result<Self, ReportError> {
        let files = ReportFiles::take(directory)?;
        let case = junit::unfinished(&about);
        let suites = junit::file([junit::suite(&about, case)]).map_err(ReportError::Junit)?;
        files.write(JUNIT, &suites)?;
        let repeat = markdown::block(&about.repeat(None));
        let text = format!(
            "# UNFINISHED: {}\n\n`shadow {}`, {}.\n\n{repeat}",
            junit::UNFINISHED,
            about.command,
            markdown::plain(&about.case)
        );
        files.write(REPORT, &text)?;
        Ok(Self { files, about })
    }

    /// Says how the run ended.
    ///
    /// # Errors
    ///
    /// When a file cannot be written.
    pub(crate) fn end(&self, summary: &Summary, findings: &Findings) -> Result<(), ReportError> {
        let json = summary.to_json().map_err(ReportError::Summary)?;
        let figures: Figures = serde_json::from_str(&json).map_err(ReportError::Summary)?;
        let missing: Vec<String> = summary.missing().collect();
        let headline = Headline::of(&figures, &missing);
        let about = &self.about;
        self.files.write(SUMMARY, &format!("{json}\n"))?;
        let has_chart = findings.track.iter().next().is_some();
        if has_chart {
            let title = format!("{} {}: {}", about.command, about.case, headline.word.as_str());
            self.files
                .write(CHART, &chart::chart(&headline::shortened(&title), &findings.track)?)?;
        }
        let page = Page {
            about,
            headline: &headline,
            figures: &figures,
            findings,
            missing: &missing,
            directory: self.files.directory(),
            has_chart,
        };
        self.files.write(REPORT, &page.to_markdown())?;
        let case = junit::case(about, &figures, &headline, &summary.to_text());
        let suites = junit::file([junit::suite(about, case)]).map_err(ReportError::Junit)?;
        self.files.write(JUNIT, &suites)
    }
}
