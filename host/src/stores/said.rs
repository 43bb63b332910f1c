//! What the log has been told, for tasks that try again and again.

/// The reasons that were told of, so that none is told of each time it keeps a try from going well.
#[derive(Debug, Default)]
pub(super) struct Said(Vec<String>);

impl Said {
    /// How many are remembered: where each time brings another, the first are told of again.
    const MOST: usize = 16;

    /// Notes a reason; says whether it was not told of.
    pub(super) fn is_new(&mut self, reason: &str) -> bool {
        if self.0.iter().any(|said| said == reason) {
            return false;
        }
        if self.0.len() == Self::MOST {
            self.0.remove(0);
        }
        self.0.push(reason.to_owned());
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_told_of_once() {
        let mut said = Said::default();
        assert!(said.is_new("refused") && said.is_new("silent"));
        assert!(!said.is_new("refused") && !said.is_new("silent"));
        for number in 0..Said::MOST {
            assert!(said.is_new(&number.to_string()));
        }
        assert!(said.is_new("refused"), "long ago");
    }
}
