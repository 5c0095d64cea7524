//! Comparison of a function with its model, whose lemmas z3 has proven: `tests/proof` in the project makes the vectors.

const VECTORS: &str = include_str!("vectors.txt");

/// Fails unless `call` gives what the model says, for each of the model's vectors. A refusal gives nothing; a range its start and
/// its end; a bool 0 or 1.
pub(crate) fn check<const N: usize, R: IntoIterator<Item = u64>>(model: &str, call: impl Fn([u64; N]) -> R) {
    let mut count = 0;
    for line in VECTORS.lines().filter(|line| line.split(' ').next() == Some(model)) {
        let (arguments, said) = line.split_once('=').unwrap();
        let arguments = numbers(&arguments[model.len()..]).try_into().unwrap();
        assert_eq!(call(arguments).into_iter().collect::<Vec<_>>(), numbers(said), "{line}");
        count += 1;
    }
    assert!(count > 0, "{model} has no vectors");
}

fn numbers(text: &str) -> Vec<u64> {
    let digits = |number: &str| u64::from_str_radix(number.strip_prefix("0x").unwrap(), 16).unwrap();
    text.split_whitespace().map(digits).collect()
}
