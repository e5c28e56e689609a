//! The test that comes with a minimised block.

use crate::{diagnosis::Diagnosis, evidence::Evidence};

/// A whole file with one test, which reads the evidence under a name, runs an executor on it, and asks
/// that it agrees with the control. It says of what the evidence was made.
pub fn test_of(
    evidence: &Evidence,
    name: &str,
    made_of: &str,
    diagnosis: Option<&Diagnosis>,
) -> String {
    let mut text = format!("//! {}\n//!\n", line(&evidence.to_string()));
    text.push_str(&format!("//! It is made of {}.\n//!\n", line(made_of)));
    for sentence in diagnosis.map(Diagnosis::sentences).unwrap_or_default() {
        text.push_str(&format!("//! * {}\n", line(&sentence)));
    }
    text.push_str(
        "//!\n\
         //! It fails as long as the executor is wrong in this way, and holds once it is not.\n\n\
         use std::{path::Path, sync::Arc, time::Duration};\n\n\
         use shadow::{\n    \
             candidate_spec::{CandidateSpec, start},\n    \
             evidence::Evidence,\n    \
             execute::BlockExecutor,\n\
         };\n\n",
    );
    text.push_str(&format!(
        "/// The evidence, in `tests/fixtures/`.\nconst NAME: &str = {name:?};\n\n"
    ));
    let spec = evidence.candidate_spec.as_deref();
    let note = match spec {
        Some(_) => {
            "/// The executor under test. Any other that implements `BlockExecutor` can take its place.\n"
        }
        None => {
            "/// Stands where the executor under test belongs, which has no name on the command line: put it\n\
             /// here.\n"
        }
    };
    text.push_str(note);
    text.push_str(&format!(
        "fn executor() -> Arc<dyn BlockExecutor> {{\n    \
             let spec: CandidateSpec = {:?}.parse().unwrap();\n    \
             start(&spec, {}, Duration::from_secs({BUDGET_SECONDS}), None).unwrap()\n\
         }}\n\n",
        spec.unwrap_or("v3"),
        evidence.schedule().workers.max(2),
    ));
    text.push_str(&format!(
        "#[test]\n\
         fn {}() {{\n    \
             let fixtures = Path::new(env!(\"CARGO_MANIFEST_DIR\")).join(\"tests/fixtures\");\n    \
             let evidence = Evidence::read(&fixtures.join(NAME)).unwrap();\n    \
             if let Err(difference) = evidence.holds(&*executor()) {{\n        \
                 panic!(\"{{difference}}\");\n    \
             }}\n\
         }}\n",
        function(evidence)
    ));
    text
}

/// "the_balance_in_block_34_is_that_of_the_control"
fn function(evidence: &Evidence) -> String {
    let field = evidence.fingerprint.field;
    let place = evidence.block.block.topoheight;
    let what = match field {
        comparator::Field::Crashed => "it_does_not_crash_in".to_owned(),
        comparator::Field::Hang => "it_comes_back_from".to_owned(),
        comparator::Field::Error => "there_is_a_result_of".to_owned(),
        comparator::Field::Protocol => "the_answer_makes_sense_in".to_owned(),
        field => format!("the_{field}_is_that_of_the_control_in"),
    };
    format!("{what}_block_{place}")
}

/// What a candidate wrote must not end a comment.
fn line(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { ' ' } else { char }).collect()
}

const BUDGET_SECONDS: u64 = 10;
