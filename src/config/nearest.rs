//! "Did you mean …?": the known name that is nearest to an unknown one.

/// The nearest of `known` to `word`, if any is near enough to be what was meant.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let folded = word.to_lowercase();
    let bound = (folded.chars().count() / 3).clamp(1, 3);
    known
        .into_iter()
        .map(|candidate| (distance(&folded, &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= bound)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// How many letters to insert, drop, change or swap with their neighbour (optimal string
/// alignment) to get from one word to the other.
fn distance(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    let mut older: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=to.len()).collect();
    for row in 1..=from.len() {
        let mut current = vec![row];
        for column in 1..=to.len() {
            let changed = usize::from(from[row - 1] != to[column - 1]);
            let mut least = (above[column - 1] + changed)
                .min(above[column] + 1)
                .min(current[column - 1] + 1);
            let swapped = row > 1
                && column > 1
                && from[row - 1] == to[column - 2]
                && from[row - 2] == to[column - 1];
            if swapped {
                least = least.min(older[column - 2] + 1);
            }
            current.push(least);
        }
        older = std::mem::replace(&mut above, current);
    }
    above[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_one_step() {
        for word in ["acces", "accesss", "acxess", "acecss", "ACCESS"] {
            assert!(distance(&word.to_lowercase(), "access") <= 1, "{word}");
            assert_eq!(nearest(word, ["methods", "access"]), Some("access"));
        }
    }

    #[test]
    fn a_different_word_is_not_suggested() {
        assert_eq!(nearest("sessions", ["scopes", "routes", "store"]), None);
        assert_eq!(nearest("ca", ["cb", "xy"]), Some("cb"));
    }
}
