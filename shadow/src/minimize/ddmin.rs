//! Delta debugging: the smallest part of a list that still has a property.

/// A part of the list that has the property and of which no single item can be left out. The whole
/// list is taken to have it.
///
/// Large parts are tried first, so that what is not needed goes in few steps; the property need not
/// be monotonous.
pub(super) fn ddmin<T: Clone>(items: Vec<T>, mut holds: impl FnMut(&[T]) -> bool) -> Vec<T> {
    if items.is_empty() || holds(&[]) {
        return Vec::new();
    }
    let mut items = items;
    let mut parts = 2;
    while items.len() > 1 {
        let size = items.len().div_ceil(parts);
        let chunks: Vec<&[T]> = items.chunks(size).collect();
        let alone = chunks.iter().find(|chunk| chunk.len() < items.len() && holds(chunk));
        if let Some(alone) = alone {
            items = alone.to_vec();
            parts = 2;
            continue;
        }
        // Of two parts each is what is left without the other.
        let without = (chunks.len() > 2).then(|| {
            (0..chunks.len()).find_map(|left_out| {
                let kept = chunks.iter().enumerate().filter(|(at, _)| *at != left_out);
                let kept: Vec<T> = kept.flat_map(|(_, chunk)| chunk.iter().cloned()).collect();
                holds(&kept).then_some(kept)
            })
        });
        if let Some(kept) = without.flatten() {
            items = kept;
            parts = (parts - 1).max(2);
        } else if size == 1 {
            break;
        } else {
            parts = (parts * 2).min(items.len());
        }
    }
    items
}

/// The first part of so many items or fewer, but fewer than all, that has the property. Where items
/// are needed for their place alone, a part that has it may be far from the one found by halving.
pub(super) fn few<T: Clone>(
    items: &[T],
    most: usize,
    mut holds: impl FnMut(&[T]) -> bool,
) -> Option<Vec<T>> {
    fn choose<T: Clone>(
        items: &[T],
        count: usize,
        chosen: &mut Vec<T>,
        holds: &mut impl FnMut(&[T]) -> bool,
    ) -> bool {
        if count == 0 {
            return holds(chosen);
        }
        for (at, item) in items.iter().enumerate() {
            if items.len() - at < count {
                break;
            }
            chosen.push(item.clone());
            if choose(&items[at + 1..], count - 1, chosen, holds) {
                return true;
            }
            chosen.pop();
        }
        false
    }
    (0..=most.min(items.len().saturating_sub(1))).find_map(|count| {
        let mut chosen = Vec::with_capacity(count);
        choose(items, count, &mut chosen, &mut holds).then_some(chosen)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_needed_is_what_is_left(
            size in 1..80_usize,
            needed in prop::collection::btree_set(0..80_usize, 0..5),
        ) {
            let needed: Vec<usize> = needed.into_iter().filter(|item| *item < size).collect();
            let holds = |items: &[usize]| needed.iter().all(|item| items.contains(item));
            prop_assert_eq!(ddmin((0..size).collect(), holds), needed);
        }

        #[test]
        fn of_any_property_a_part_is_left_that_has_it_and_cannot_lose_one_item(
            size in 1..20_usize,
            salt in any::<u64>(),
        ) {
            let all: Vec<u64> = (0..size as u64).collect();
            let holds = |items: &[u64]| {
                let sum = items.iter().fold(salt, |sum, item| sum.wrapping_mul(31).wrapping_add(*item));
                items.len() == size || sum % 3 == 0
            };
            let left = ddmin(all, holds);
            prop_assert!(holds(&left));
            for at in 0..left.len() {
                let mut without = left.clone();
                without.remove(at);
                prop_assert!(left.len() < 2 || !holds(&without));
            }
        }
    }

    #[test]
    fn a_few_that_are_far_apart_are_found_together() {
        // Two are enough if they are of different parity: what ddmin leaves cannot lose one.
        let holds = |items: &[u32]| match items {
            [one, other] => one % 2 != other % 2,
            _ => items.len() == 4,
        };
        assert_eq!(few(&[0, 2, 4, 5], 3, holds), Some(vec![0, 5]));
        assert_eq!(few(&[0, 2, 4, 6], 3, holds), None);
        assert_eq!(few(&[7], 3, |items| items.is_empty()), Some(vec![]));
    }
}
