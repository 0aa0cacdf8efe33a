//! Answers to many questions of yes or no as one word.

/// A bit for each of the first 64 answers, the first one lowest; those that are not there are not set.
pub fn bits_of(answers: impl Iterator<Item = bool>) -> u64 {
    let answers = answers.take(u64::BITS as usize).enumerate();
    answers.fold(0, |all, (at, answer)| all | u64::from(answer) << at)
}
