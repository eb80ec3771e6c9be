//! Sharing out whole numbers in proportion, without losing or inventing any.

use std::{cmp::Reverse, collections::BTreeMap};

/// Beyond this many pairs of a client and a server, proportions are given up for totals.
const PAIRS: usize = 1 << 20;

/// Splits `total` in proportion to `weights` by the largest remainder: the parts add up to `total`.
/// Equal remainders go to the first. Weights that are all zero count as equal.
pub(super) fn shares(total: u64, weights: &[u64]) -> Vec<u64> {
    let sum: u128 = weights.iter().copied().map(u128::from).sum();
    let (sum, equal) = if sum == 0 { (weights.len() as u128, true) } else { (sum, false) };
    let mut parts = Vec::with_capacity(weights.len());
    let mut remainders = Vec::with_capacity(weights.len());
    for (index, &weight) in weights.iter().enumerate() {
        let (part, remainder) = divide(total, if equal { 1 } else { weight }, sum);
        parts.push(part);
        remainders.push((Reverse(remainder), index));
    }
    let mut left = total - parts.iter().sum::<u64>();
    remainders.sort_unstable();
    for (Reverse(remainder), index) in remainders {
        if left == 0 || remainder == 0 {
            break;
        }
        parts[index] += 1;
        left -= 1;
    }
    parts
}

/// Shares out connections between the `rows` (what each client counted) and the `columns` (what
/// each server counted) in proportion to both. Pairs that get none are left out.
///
/// Each row and each column adds up to its own total, the smaller side first being scaled up to
/// the larger one's sum where the two disagree.
pub(super) fn matrix(rows: &[u64], columns: &[u64]) -> BTreeMap<(usize, usize), u64> {
    let sum = |totals: &[u64]| totals.iter().fold(0_u64, |sum, &total| sum.saturating_add(total));
    let total = sum(rows).max(sum(columns));
    if total == 0 {
        return BTreeMap::new();
    }
    let mut rows = shares(total, rows);
    let mut columns = shares(total, columns);
    let mut cells = BTreeMap::new();
    if rows.len().saturating_mul(columns.len()) <= PAIRS {
        share_in_proportion(&mut rows, &mut columns, total, &mut cells);
    }
    fill_from_the_corner(&mut rows, &mut columns, &mut cells);
    cells
}

/// Gives each pair its proportion rounded down, then one more to those with the largest remainder
/// as long as its row and column both have some left. Takes what is given from `rows` and
/// `columns`.
fn share_in_proportion(
    rows: &mut [u64],
    columns: &mut [u64],
    total: u64,
    cells: &mut BTreeMap<(usize, usize), u64>,
) {
    let (wanted, offered) = (rows.to_vec(), columns.to_vec());
    let mut remainders = Vec::new();
    for (row, &wants) in wanted.iter().enumerate() {
        for (column, &offers) in offered.iter().enumerate() {
            let (part, remainder) = divide(wants, offers, u128::from(total));
            if part > 0 {
                cells.insert((row, column), part);
                rows[row] -= part;
                columns[column] -= part;
            }
            if remainder > 0 {
                remainders.push((Reverse(remainder), row, column));
            }
        }
    }
    remainders.sort_unstable();
    for (_, row, column) in remainders {
        if rows[row] > 0 && columns[column] > 0 {
            *cells.entry((row, column)).or_default() += 1;
            rows[row] -= 1;
            columns[column] -= 1;
        }
    }
}

/// Gives what is left of rows and columns, which add up to the same, to pairs in their order.
fn fill_from_the_corner(
    rows: &mut [u64],
    columns: &mut [u64],
    cells: &mut BTreeMap<(usize, usize), u64>,
) {
    let (mut row, mut column) = (0, 0);
    while row < rows.len() && column < columns.len() {
        let part = rows[row].min(columns[column]);
        if part > 0 {
            *cells.entry((row, column)).or_default() += part;
            rows[row] -= part;
            columns[column] -= part;
        }
        if rows[row] == 0 {
            row += 1;
        } else {
            column += 1;
        }
    }
}

/// `total * weight / sum`, where `weight` is at most `sum`, and the remainder.
fn divide(total: u64, weight: u64, sum: u128) -> (u64, u128) {
    let product = u128::from(total) * u128::from(weight);
    (u64::try_from(product / sum).unwrap_or(total), product % sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sums(cells: &BTreeMap<(usize, usize), u64>, rows: usize, columns: usize) -> [Vec<u64>; 2] {
        let mut sums = [vec![0; rows], vec![0; columns]];
        for (&(row, column), &part) in cells {
            sums[0][row] += part;
            sums[1][column] += part;
        }
        sums
    }

    #[test]
    fn the_largest_remainder_gets_what_is_left() {
        assert_eq!(shares(10, &[1, 1, 1]), [4, 3, 3]);
        assert_eq!(shares(10, &[1, 5, 2]), [1, 6, 3]);
        assert_eq!(shares(3, &[0, 0]), [2, 1]);
        assert_eq!(shares(3, &[0, 7]), [0, 3]);
        assert_eq!(shares(u64::MAX, &[u64::MAX]), [u64::MAX]);
        assert_eq!(shares(0, &[]), [] as [u64; 0]);
    }

    #[test]
    fn connections_are_shared_in_proportion() {
        let cells = matrix(&[10, 30], &[20, 20]);
        assert_eq!(cells, BTreeMap::from([((0, 0), 5), ((0, 1), 5), ((1, 0), 15), ((1, 1), 15)]));
    }

    #[test]
    fn the_smaller_side_is_scaled_up() {
        assert_eq!(sums(&matrix(&[1, 1], &[3, 5]), 2, 2), [vec![4, 4], vec![3, 5]]);
        assert_eq!(sums(&matrix(&[2, 4], &[0, 0]), 2, 2), [vec![2, 4], vec![3, 3]]);
    }

    #[test]
    fn too_many_pairs_still_keep_their_totals() {
        let rows = vec![3; 1025];
        let columns = vec![3; 1025];
        let cells = matrix(&rows, &columns);
        assert_eq!(sums(&cells, 1025, 1025), [rows, columns]);
        assert!(cells.len() <= 2050);
    }

    proptest! {
        #[test]
        fn parts_add_up_and_stay_within_one_of_the_proportion(
            total in 0_u64..1_000_000,
            weights in prop::collection::vec(0_u64..1000, 1..8),
        ) {
            let sum: u64 = weights.iter().sum();
            prop_assume!(sum > 0);
            let parts = shares(total, &weights);
            prop_assert_eq!(parts.iter().sum::<u64>(), total);
            for (part, weight) in parts.iter().zip(&weights) {
                let exact = total * weight / sum;
                prop_assert!((exact..=exact + 1).contains(part));
            }
        }

        #[test]
        fn any_weights_are_shared_without_loss(
            total in any::<u64>(),
            weights in prop::collection::vec(0..u64::MAX >> 3, 1..8),
        ) {
            let sum = shares(total, &weights).iter().map(|&part| u128::from(part)).sum::<u128>();
            prop_assert_eq!(sum, u128::from(total));
        }

        #[test]
        fn totals_that_agree_are_kept(
            cells in prop::collection::vec(prop::collection::vec(0_u64..50, 4), 1..6),
        ) {
            let rows: Vec<u64> = cells.iter().map(|row| row.iter().sum()).collect();
            let columns: Vec<u64> =
                (0..4).map(|column| cells.iter().map(|row| row[column]).sum()).collect();
            let shared = matrix(&rows, &columns);
            prop_assert_eq!(sums(&shared, rows.len(), 4), [rows, columns]);
        }

        #[test]
        fn the_sum_is_that_of_the_larger_side(
            rows in prop::collection::vec(0_u64..1000, 1..6),
            columns in prop::collection::vec(0_u64..1000, 1..6),
        ) {
            let sum: u64 = matrix(&rows, &columns).values().sum();
            prop_assert_eq!(sum, rows.iter().sum::<u64>().max(columns.iter().sum()));
        }
    }
}
