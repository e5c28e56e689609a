//! A nonce that differs, explained by those that the account sent.

use comparator::{Difference, Side};
use storage_snapshot::{Nonce, StateKey};

use super::{
    cause::{Cause, EXACT, Finding, Hypotheses, STRIKING, SUMMED},
    facts::Facts,
    state::explain_by_rolled_back,
};

pub(super) fn explain(
    facts: &Facts<'_>,
    index: usize,
    difference: &Difference,
    fitting: &mut Hypotheses,
) {
    let (Some(key @ StateKey::Nonce(account)), Side::Number(control), Side::Number(observed)) =
        (difference.key, &difference.control, &difference.observed)
    else {
        return;
    };
    let (control, observed) = (Nonce::new(*control), Nonce::new(*observed));
    explain_by_rolled_back(facts, index, &facts.touching(&key), fitting);
    let words = facts.key(&key);
    let sent: Vec<(usize, Nonce)> = facts
        .executed()
        .filter(|(_, body)| body.source == account)
        .map(|(index, body)| (index, body.nonce))
        .collect();
    let mut add = |rank, finding, of: Option<usize>, sentence| {
        let named = of.and_then(|index| facts.named(index));
        fitting.add(rank, [index], Cause::new(finding, sentence).at(key).by(named));
    };

    let highest = sent.iter().max_by_key(|(_, nonce)| *nonce);
    if let Some((at, nonce)) = highest
        && observed == *nonce
        && Some(control) == nonce.next()
    {
        let sentence = format!(
            "{words} is {observed}, that of transaction #{at} itself: it was not advanced past it"
        );
        add(EXACT, Finding::NonceBehind, Some(*at), sentence);
    }
    if Some(observed) == control.next() {
        let at = highest.map(|(at, _)| *at);
        let sentence = format!("{words} is {observed} instead of {control}: it was advanced twice");
        add(EXACT, Finding::NonceAhead, at, sentence);
    }
    if let Some((at, nonce)) = sent.last()
        && Some(observed) == nonce.next()
    {
        let sentence = format!(
            "{words} is {observed}, the one after transaction #{at}, which came last: the highest one is \
             forgotten, after which it is {control}"
        );
        add(EXACT, Finding::NonceOfLast, Some(*at), sentence);
    }
    if facts.nonce_before(account) == Some(observed) {
        let sentence = format!("{words} is {observed}, as it was before the block");
        let rank = if sent.len() > 1 { STRIKING } else { SUMMED };
        add(rank, Finding::Stale, sent.first().map(|(at, _)| *at), sentence);
    }
}
