//! How much of the system a run has: one relay, several relays of a region, or two regions.

/// The shape of a run's world.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Shape {
    /// One relay that carries its region inside itself: when its process is gone, so is the log's commit under way.
    #[default]
    Alone,
    /// Several relays on one region's log, which outlives each of them, and the bus between them.
    Relays,
    /// Two regions with relays each, their logs shipped to each other; a region may be lost with all that it keeps.
    Regions,
}

impl Shape {
    /// Every shape, the smallest first.
    pub const ALL: &[Shape] = &[Shape::Alone, Shape::Relays, Shape::Regions];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Alone => "alone",
            Self::Relays => "relays",
            Self::Regions => "regions",
        }
    }

    /// The shape of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|shape| shape.name() == name)
    }
}
