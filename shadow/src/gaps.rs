//! What is missing for an answer, a sentence each: the same ones while a run goes on, at its end, and when its
//! ledger is read later.

/// The verdicts on a candidate.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Verdicts {
    /// On any configuration of it.
    pub(crate) on_any: u64,
    /// On the one that is under test.
    pub(crate) on_this: u64,
    /// In how many blocks that one was compared at work.
    pub(crate) exercised: u64,
    /// In how many it was left alone.
    pub(crate) suspended: u64,
}

impl Verdicts {
    /// Why they are no answer about so many blocks, if they are none.
    pub(crate) fn gap(&self, name: &str, blocks: u64) -> Option<String> {
        let without = blocks.saturating_sub(self.on_this);
        if self.exercised == 0 && self.on_any > self.on_this {
            Some(format!(
                "nothing was exercised for candidate {name} as it is now: what it did in another build, or by \
                 other rules, says nothing about this one"
            ))
        } else if self.exercised == 0 {
            Some(format!(
                "nothing was exercised for candidate {name}: a green result for it would prove nothing"
            ))
        } else if without > 0 {
            Some(format!(
                "candidate {name} has no verdict on {without} blocks, because an earlier run was not asked for \
                 it, or for another build of it; another --state-dir begins anew"
            ))
        } else if self.suspended > 0 {
            Some(format!("candidate {name}: {}", left_alone(self.suspended)))
        } else {
            None
        }
    }
}

/// That there is nobody to give an answer about.
pub(crate) fn nobody() -> String {
    "no candidate was judged on any block: that proves nothing".to_owned()
}

/// That a candidate was not run, which is no agreement.
pub(crate) fn left_alone(blocks: u64) -> String {
    format!(
        "left alone in {blocks} blocks, because it had come to no result in those before; what it would have \
         done there nobody knows"
    )
}

/// That there are blocks without a control.
pub(crate) fn inconclusive(blocks: u64) -> Option<String> {
    (blocks > 0).then(|| format!("{blocks} blocks are inconclusive"))
}

/// That the comparator did not see what was there to be seen.
pub(crate) fn blind(canaries_missed: u64) -> Option<String> {
    (canaries_missed > 0).then(|| {
        "a result that was altered on purpose was not found to differ: no match of this run can be trusted; \
         please report it"
            .to_owned()
    })
}

/// That the comparator sees what is not there.
pub(crate) fn noisy(differ: u64, blocks: u64) -> Option<String> {
    (differ > 0).then(|| {
        format!(
            "the verifier is noisy: in {differ} of {blocks} blocks the serial execution differs from itself, \
             so no verdict of this run can be trusted; please report it"
        )
    })
}
