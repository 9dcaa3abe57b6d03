//! Walking over operands that are stretched to one shape, without stretching them.

use crate::{Element, MAX_RANK, Shape};
use kernels::elementwise::Operand;

/// Consecutive outputs, seen as a matrix `[rows, cols]`, in which every operand is one of the
/// four kinds of [`Operand`].
pub(super) struct Panel<const N: usize> {
    /// Where it begins in the output.
    pub(super) start: usize,
    pub(super) rows: usize,
    pub(super) cols: usize,
    /// Where it begins in each operand.
    at: [usize; N],
    /// Whether each operand moves along with the rows, and with the columns.
    moves: [[bool; 2]; N],
}

impl<const N: usize> Panel<N> {
    /// How many outputs there are.
    pub(super) fn len(&self) -> usize {
        self.rows * self.cols
    }

    /// Operand `i`, whose numbers are `data`.
    pub(super) fn operand<'a, T: Element>(&self, i: usize, data: &'a [T]) -> Operand<'a, T> {
        let data = &data[self.at[i]..];
        match self.moves[i] {
            [true, true] => Operand::Full(&data[..self.len()]),
            [false, true] => Operand::Row(&data[..self.cols]),
            [true, false] => Operand::Column(&data[..self.rows]),
            [false, false] => Operand::Scalar(data[0]),
        }
    }
}

/// Adjacent axes that every operand treats alike, as one.
#[derive(Clone, Copy)]
struct Group<const N: usize> {
    extent: usize,
    moves: [bool; N],
}

/// Cuts an output of shape `out` into panels that are as large as can be.
///
/// Each operand's shape broadcasts to `out`.
pub(super) fn panels<const N: usize>(
    out: &Shape,
    operands: [&Shape; N],
    mut visit: impl FnMut(Panel<N>),
) {
    if out.elements() == 0 {
        return;
    }
    let one = Group {
        extent: 1,
        moves: [true; N],
    };
    let mut groups = [one; MAX_RANK];
    let mut count = 0;
    for axis in 0..out.rank() {
        let extent = out[axis];
        if extent == 1 {
            continue;
        }
        let moves = operands.map(|shape| {
            let own = (axis + shape.rank()).checked_sub(out.rank());
            own.is_some_and(|axis| shape[axis] != 1)
        });
        if count > 0 && groups[count - 1].moves == moves {
            groups[count - 1].extent *= extent;
        } else {
            groups[count] = Group { extent, moves };
            count += 1;
        }
    }
    let (outer, [row, column]) = match groups[..count] {
        [] => (&[][..], [one, one]),
        [column] => (&[][..], [one, column]),
        [ref outer @ .., row, column] => (outer, [row, column]),
    };
    // How far each operand moves with a step of each outer group.
    let mut strides = [[0; N]; MAX_RANK];
    let mut steps = [1; N];
    let mut pass = |group: &Group<N>, stride: &mut [usize; N]| {
        for i in 0..N {
            if group.moves[i] {
                stride[i] = steps[i];
                steps[i] *= group.extent;
            }
        }
    };
    pass(&column, &mut [0; N]);
    pass(&row, &mut [0; N]);
    for (group, stride) in outer.iter().zip(&mut strides).rev() {
        pass(group, stride);
    }
    // One row is the same as one column's worth of rows: call it full, not repeated.
    let moves = std::array::from_fn(|i| {
        let rows = row.moves[i] || row.extent == 1 && column.moves[i];
        [rows, column.moves[i]]
    });
    let mut place = [0; MAX_RANK];
    let mut at = [0; N];
    let mut start = 0;
    loop {
        let panel = Panel {
            start,
            rows: row.extent,
            cols: column.extent,
            at,
            moves,
        };
        start += panel.len();
        visit(panel);
        // The odometer of the outer groups.
        let mut axis = outer.len();
        loop {
            if axis == 0 {
                return;
            }
            axis -= 1;
            place[axis] += 1;
            for i in 0..N {
                at[i] += strides[axis][i];
            }
            if place[axis] < outer[axis].extent {
                break;
            }
            for i in 0..N {
                at[i] -= strides[axis][i] * place[axis];
            }
            place[axis] = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panels_visit_every_output_once_at_the_right_operands() {
        let shapes: [&[usize]; 7] = [
            &[],
            &[3],
            &[2, 1],
            &[2, 3],
            &[4, 1, 1],
            &[4, 1, 3],
            &[4, 2, 3],
        ];
        let out = Shape::from([4, 2, 3]);
        let numbers: Vec<f64> = (0..24).map(f64::from).collect();
        let value = |operand: Operand<f64>, i: usize, cols: usize| match operand {
            Operand::Full(x) => x[i],
            Operand::Row(x) => x[i % cols],
            Operand::Column(x) => x[i / cols],
            Operand::Scalar(x) => x,
        };
        for a in shapes.map(Shape::new) {
            for b in shapes.map(Shape::new) {
                let mut seen = vec![];
                panels(&out, [&a, &b], |panel| {
                    for i in 0..panel.len() {
                        let at = |n: usize| value(panel.operand(n, &numbers), i, panel.cols);
                        seen.push((panel.start + i, at(0), at(1)));
                    }
                });
                let index = |shape: &Shape, place: [usize; 3]| {
                    let skipped = 3 - shape.rank();
                    let along =
                        |axis: usize| (place[axis + skipped] % shape[axis]) * shape.strides()[axis];
                    (0..shape.rank()).map(along).sum::<usize>() as f64
                };
                let expected: Vec<_> = (0..24)
                    .map(|i| {
                        let place = [i / 6, i / 3 % 2, i % 3];
                        (i, index(&a, place), index(&b, place))
                    })
                    .collect();
                assert_eq!(seen, expected, "{a} and {b}");
            }
        }
    }

    #[test]
    fn equal_shapes_are_one_panel() {
        let shape = Shape::from([2, 3, 4]);
        let mut sizes = vec![];
        panels(&shape, [&shape, &shape], |panel| {
            sizes.push((panel.rows, panel.cols))
        });
        assert_eq!(sizes, [(1, 24)]);
    }
}
