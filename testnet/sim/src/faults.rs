//! What goes wrong in a run: each seed switches a random part of it on.

use std::fmt;

use session_protocols::Span;

use super::dice::Dice;

/// Which faults a run has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// The seed switches each kind on or off.
    #[default]
    Seeded,
    /// None: a network without trouble, and without delay worth the name.
    None,
    /// Every kind.
    All,
}

impl Choice {
    /// What a line that runs it again says.
    pub(super) const fn argument(self) -> &'static str {
        match self {
            Self::Seeded => "",
            Self::None => " --faults none",
            Self::All => " --faults all",
        }
    }
}

/// The faults of one run. Chances are out of a thousand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Faults {
    /// The shortest way between two nodes.
    pub delay_min: Span,
    /// The longest way between two nodes.
    pub delay_max: Span,
    /// How often a message takes up to three seconds longer, and so comes after later ones.
    pub stray: u32,
    /// How often a message or an answer is lost.
    pub loss: u32,
    /// How often a message or an answer comes twice.
    pub duplication: u32,
    /// Whether the network falls apart now and then.
    pub partitions: bool,
    /// Whether nodes crash and return.
    pub crashes: bool,
    /// Whether whole swarms crash at once and return.
    pub blackouts: bool,
    /// How often a commit fails, durable or not.
    pub failed_commits: u32,
    /// Whether some disks are slow.
    pub slow_disks: bool,
    /// Whether some nodes return with an empty disk, fewer than would break a majority.
    pub lost_disks: bool,
    /// How far clocks are off, either way.
    pub clock: Span,
    /// Whether a member of some swarms lies.
    pub hostile: bool,
    /// Whether nodes come and go, so that swarms change.
    pub changes: bool,
}

impl Faults {
    /// A network without trouble.
    pub(super) const fn none() -> Self {
        Self {
            delay_min: Span::millis(1),
            delay_max: Span::millis(5),
            stray: 0,
            loss: 0,
            duplication: 0,
            partitions: false,
            crashes: false,
            blackouts: false,
            failed_commits: 0,
            slow_disks: false,
            lost_disks: false,
            clock: Span(0),
            hostile: false,
            changes: false,
        }
    }

    /// What `choice` means for this seed.
    pub(super) fn of(choice: Choice, seed: u64) -> Self {
        let mut dice = Dice::new(seed, "faults");
        let mut on = |per_mille| match choice {
            Choice::Seeded => dice.chance(per_mille),
            Choice::None => false,
            Choice::All => true,
        };
        let (far, stray, loss, duplication) = (on(700), on(500), on(600), on(500));
        let (partitions, crashes, blackouts) = (on(600), on(700), on(350));
        let (failed, slow_disks, lost_disks) = (on(350), on(350), on(250));
        let (clock, hostile) = (on(500), on(450));
        // Drawn by themselves: the other faults of a seed stay what they are.
        let changes = match choice {
            Choice::Seeded => Dice::new(seed, "whether swarms change").chance(450),
            Choice::None => false,
            Choice::All => true,
        };
        let calm = Self::none();
        let number =
            |on: bool, low, high, dice: &mut Dice| if on { dice.between(low, high) as u32 } else { 0 };
        Self {
            delay_min: if far { Span::millis(dice.between(1, 40)) } else { calm.delay_min },
            delay_max: if far { Span::millis(dice.between(40, 400)) } else { calm.delay_max },
            stray: number(stray, 5, 50, &mut dice),
            loss: number(loss, 5, 80, &mut dice),
            duplication: number(duplication, 5, 80, &mut dice),
            partitions,
            crashes,
            blackouts,
            failed_commits: number(failed, 1, 6, &mut dice),
            slow_disks,
            lost_disks,
            // Members accept signed times 10 s further ahead than clients' nodes do.
            clock: if clock { Span::millis(dice.between(200, 4_500)) } else { Span(0) },
            hostile,
            changes,
        }
    }

    /// What is left of them once everything has healed: distance, clocks, slow disks, liars.
    pub(super) const fn healed(self) -> Self {
        Self {
            stray: 0,
            loss: 0,
            duplication: 0,
            partitions: false,
            crashes: false,
            blackouts: false,
            failed_commits: 0,
            lost_disks: false,
            ..self
        }
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "delay {}..{} ms", self.delay_min.as_millis(), self.delay_max.as_millis())?;
        for (what, chance) in [
            ("stray", self.stray),
            ("loss", self.loss),
            ("duplication", self.duplication),
            ("failed commits", self.failed_commits),
        ] {
            if chance > 0 {
                write!(f, ", {what} {chance}/1000")?;
            }
        }
        for (what, on) in [
            ("partitions", self.partitions),
            ("crashes", self.crashes),
            ("blackouts", self.blackouts),
            ("slow disks", self.slow_disks),
            ("lost disks", self.lost_disks),
            ("hostile members", self.hostile),
            ("changing swarms", self.changes),
        ] {
            if on {
                write!(f, ", {what}")?;
            }
        }
        if self.clock > Span(0) {
            write!(f, ", clocks +-{} ms", self.clock.as_millis())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_switch_every_kind_on_and_off() {
        type Kind = (&'static str, fn(&Faults) -> bool);
        let kinds: &[Kind] = &[
            ("distance", |faults| faults.delay_max > Faults::none().delay_max),
            ("stray", |faults| faults.stray > 0),
            ("loss", |faults| faults.loss > 0),
            ("duplication", |faults| faults.duplication > 0),
            ("partitions", |faults| faults.partitions),
            ("crashes", |faults| faults.crashes),
            ("blackouts", |faults| faults.blackouts),
            ("failed commits", |faults| faults.failed_commits > 0),
            ("slow disks", |faults| faults.slow_disks),
            ("lost disks", |faults| faults.lost_disks),
            ("clocks", |faults| faults.clock > Span(0)),
            ("hostile members", |faults| faults.hostile),
            ("changing swarms", |faults| faults.changes),
        ];
        for (kind, is_on) in kinds {
            let on = |choice| (1..=50).filter(|seed| is_on(&Faults::of(choice, *seed))).count();
            let seeded = on(Choice::Seeded);
            assert!((5..=45).contains(&seeded), "{kind} in {seeded} of 50 seeds");
            assert_eq!((on(Choice::None), on(Choice::All)), (0, 50), "{kind}");
        }
    }
}
