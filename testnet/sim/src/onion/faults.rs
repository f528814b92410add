//! What goes wrong on the way: each seed switches a random part of it on.

use std::fmt;

use session_protocols::Span;

use crate::{Choice, dice::Dice};

/// The faults of one run. Chances are out of a thousand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Faults {
    /// The shortest way between two parties.
    pub delay_min: Span,
    /// The longest.
    pub delay_max: Span,
    /// How often something that is said is lost.
    pub loss: u32,
    /// Whether nodes crash, or stop cleanly, and return.
    pub crashes: bool,
    /// Whether some hops take up to a second over everything.
    pub slow: bool,
    /// How often a hostile hop goes no further with a packet, and says nothing.
    pub drops: u32,
    /// How often it says that the next hop is at fault, or refuses a good packet.
    pub refusals: u32,
    /// How often it changes a bit of a packet, or of an answer.
    pub flips: u32,
    /// How often it makes one longer or shorter.
    pub sizes: u32,
    /// How often it sends a packet again; and again when the next hop has started anew.
    pub replays: u32,
    /// How often it has a packet sent on by somebody else, who is no node or another hostile one.
    pub side_doors: u32,
    /// Whether clients send packets that lead to strangers, and come in crowds.
    pub rogue: bool,
    /// Whether as many as may lie sign a directory of their own, and keep back what another says.
    pub forgers: bool,
    /// Whether a client's guard answers tests of paths, and leaves what else it sends, or refuses it.
    pub mute: bool,
    /// Whether one says for some time that it has too much to do.
    pub busy: bool,
    /// Whether one passes on to its friends alone what is no test.
    pub steers: bool,
}

impl Faults {
    /// A network without trouble.
    const fn none() -> Self {
        Self {
            delay_min: Span::millis(1),
            delay_max: Span::millis(5),
            loss: 0,
            crashes: false,
            slow: false,
            drops: 0,
            refusals: 0,
            flips: 0,
            sizes: 0,
            replays: 0,
            side_doors: 0,
            rogue: false,
            forgers: false,
            mute: false,
            busy: false,
            steers: false,
        }
    }

    /// What `choice` means for this seed.
    pub(super) fn of(choice: Choice, seed: u64) -> Self {
        let mut dice = Dice::new(seed, "onion faults");
        let mut on = |per_mille| match choice {
            Choice::Seeded => dice.chance(per_mille),
            Choice::None => false,
            Choice::All => true,
        };
        let (far, loss, crashes, slow) = (on(700), on(500), on(600), on(400));
        let (drops, refusals, flips, sizes) = (on(400), on(500), on(500), on(400));
        let (replays, side_doors, rogue, forgers) = (on(500), on(400), on(500), on(400));
        let (mute, busy, steers) = (on(400), on(400), on(300));
        let calm = Self::none();
        let mut chance = |on: bool, low, high| if on { dice.between(low, high) as u32 } else { 0 };
        Self {
            loss: chance(loss, 2, 20),
            drops: chance(drops, 20, 80),
            refusals: chance(refusals, 30, 100),
            flips: chance(flips, 40, 120),
            sizes: chance(sizes, 20, 80),
            replays: chance(replays, 100, 300),
            side_doors: chance(side_doors, 60, 160),
            delay_min: if far { Span::millis(dice.between(1, 20)) } else { calm.delay_min },
            delay_max: if far { Span::millis(dice.between(20, 120)) } else { calm.delay_max },
            crashes,
            slow,
            rogue,
            forgers,
            mute,
            busy,
            steers,
        }
    }

    /// Whether some nodes are hostile.
    pub(super) const fn hostile(&self) -> bool {
        self.drops + self.refusals + self.flips + self.sizes + self.replays + self.side_doors > 0
            || self.forgers
    }

    /// What is left of them once everything has healed: distance and slow hops.
    pub(super) const fn healed(self) -> Self {
        Self { delay_min: self.delay_min, delay_max: self.delay_max, slow: self.slow, ..Self::none() }
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "delay {}..{} ms", self.delay_min.as_millis(), self.delay_max.as_millis())?;
        for (what, chance) in [
            ("loss", self.loss),
            ("drops", self.drops),
            ("false refusals", self.refusals),
            ("flipped bits", self.flips),
            ("wrong sizes", self.sizes),
            ("replays", self.replays),
            ("side doors", self.side_doors),
        ] {
            if chance > 0 {
                write!(f, ", {what} {chance}/1000")?;
            }
        }
        for (what, on) in [
            ("crashes", self.crashes),
            ("slow hops", self.slow),
            ("a rogue client", self.rogue),
            ("forgers", self.forgers),
            ("a mute guard", self.mute),
            ("a busy guard", self.busy),
            ("a steering guard", self.steers),
        ] {
            if on {
                write!(f, ", {what}")?;
            }
        }
        Ok(())
    }
}
