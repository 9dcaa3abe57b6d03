//! The order in which a scan visits a picture, and which cells a cell depends on.

use crate::conv::{Conv2d, Padding, Taps};
use crate::cut::Cut;
use std::ops::Range;

/// Which cells pass their state on to which.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scan {
    /// Row after row, from the top: the state of a cell comes from the cell above, its gates see
    /// the three cells above and beside that. Van den Oord et al. 2016, arXiv:1601.06759,
    /// section 3.1.
    Row,
    /// Diagonal after diagonal, from a corner at the top: the state of a cell comes from its
    /// neighbour on the left, its gates see that one and the cell above. There, section 3.2.
    Diagonal {
        /// Whether left and right change places.
        mirrored: bool,
    },
}

impl Scan {
    /// How many cells the gates of a cell see.
    pub fn taps(&self) -> usize {
        self.offsets().len()
    }

    /// Where they are: rows and columns from the cell's own. The second one gives its state.
    pub fn offsets(&self) -> &'static [(isize, isize)] {
        match self {
            Scan::Row => &[(-1, -1), (-1, 0), (-1, 1)],
            Scan::Diagonal { mirrored: false } => &[(-1, 0), (0, -1)],
            Scan::Diagonal { mirrored: true } => &[(-1, 0), (0, 1)],
        }
    }

    /// The convolution of the hidden states whose weight gradient is that of the scan, and the
    /// taps of its kernel.
    pub(super) fn convolution(&self, shape: [usize; 4]) -> (Conv2d, &'static [usize]) {
        let (columns, right, taps): (_, _, &[usize]) = match self {
            Scan::Row => (3, 1, &[0, 1, 2]),
            Scan::Diagonal { mirrored: false } => (2, 0, &[1, 2]),
            Scan::Diagonal { mirrored: true } => (2, 1, &[0, 3]),
        };
        let padding = Padding {
            top: 1,
            bottom: 0,
            left: columns - 1 - right,
            right,
        };
        let used = Taps::from_fn(2, columns, |r, c| taps.contains(&(r * columns + c)));
        let conv = Conv2d::new(shape, 4 * shape[3], [2, columns])
            .with_padding(padding)
            .with_taps(used);
        (conv, taps)
    }
}

/// A scan of a picture: steps one after the other, of cells that do not depend on each other.
#[derive(Clone, Copy)]
pub(super) struct Walk {
    pub(super) scan: Scan,
    pub(super) height: usize,
    pub(super) width: usize,
}

/// Cells of a step that are computed together.
pub(super) struct Tile {
    pub(super) step: usize,
    pub(super) cells: Range<usize>,
}

impl Walk {
    fn steps(&self) -> usize {
        match self.scan {
            _ if self.height * self.width == 0 => 0,
            Scan::Row => self.height,
            Scan::Diagonal { .. } => self.height + self.width - 1,
        }
    }

    /// How many cells a step has.
    fn cells(&self, step: usize) -> usize {
        match self.scan {
            Scan::Row => self.width,
            Scan::Diagonal { .. } => step.min(self.height - 1) + 1 - self.top(step),
        }
    }

    /// At most so many cells of a step, one tile after the other through all steps.
    pub(super) fn tiles(self, most: usize) -> impl Iterator<Item = Tile> {
        self.tiles_of(0..self.steps(), most)
    }

    /// As [`tiles`](Walk::tiles), from the last step to the first.
    pub(super) fn tiles_back(self, most: usize) -> impl Iterator<Item = Tile> {
        self.tiles_of((0..self.steps()).rev(), most)
    }

    fn tiles_of(
        self,
        steps: impl Iterator<Item = usize>,
        most: usize,
    ) -> impl Iterator<Item = Tile> {
        steps.flat_map(move |step| {
            let parts = Cut::new(0..self.cells(step), most).parts();
            parts.map(move |cells| Tile { step, cells })
        })
    }

    /// The row where a diagonal begins.
    fn top(&self, step: usize) -> usize {
        (step + 1).saturating_sub(self.width)
    }

    /// Rows and columns of the cells of a tile.
    pub(super) fn places(self, tile: &Tile) -> impl Iterator<Item = (usize, usize)> {
        let step = tile.step;
        tile.cells.clone().map(move |i| self.place(step, i))
    }

    /// Row and column of cell `i` of a step.
    fn place(&self, step: usize, i: usize) -> (usize, usize) {
        match self.scan {
            Scan::Row => (step, i),
            Scan::Diagonal { mirrored } => {
                let row = self.top(step) + i;
                let column = step - row;
                let mirror = self.width - 1 - column;
                (row, if mirrored { mirror } else { column })
            }
        }
    }

    /// The index of a cell.
    pub(super) fn index(&self, (row, column): (usize, usize)) -> usize {
        row * self.width + column
    }

    /// The index of the cell at an offset, if there is one.
    pub(super) fn at(
        &self,
        (row, column): (usize, usize),
        offset: (isize, isize),
    ) -> Option<usize> {
        let row = row
            .checked_add_signed(offset.0)
            .filter(|&r| r < self.height)?;
        let column = column
            .checked_add_signed(offset.1)
            .filter(|&c| c < self.width)?;
        Some(self.index((row, column)))
    }

    /// Which of the states that are under way belongs to a cell.
    pub(super) fn lane(&self, (row, column): (usize, usize)) -> usize {
        match self.scan {
            Scan::Row => column,
            Scan::Diagonal { .. } => row,
        }
    }

    /// How many states are under way.
    pub(super) fn lanes(&self) -> usize {
        match self.scan {
            Scan::Row => self.width,
            Scan::Diagonal { .. } => self.height,
        }
    }
}
