//! What a convolution is described with: sizes, strides, padding, and which taps count.

/// Rows and columns of zeros around an image, one number a side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Padding {
    /// Rows above the first.
    pub top: usize,
    /// Rows below the last.
    pub bottom: usize,
    /// Columns left of the first.
    pub left: usize,
    /// Columns right of the last.
    pub right: usize,
}

impl Padding {
    /// No padding.
    pub const NONE: Padding = Padding::uniform(0);

    /// The same number on all four sides.
    pub const fn uniform(p: usize) -> Padding {
        Padding {
            top: p,
            bottom: p,
            left: p,
            right: p,
        }
    }

    /// What keeps the image's size under an undilated `k` x `k` kernel with stride 1: k - 1 in
    /// all, the odd one at the bottom and on the right.
    ///
    /// # Panics
    /// If `k` is 0.
    #[track_caller]
    pub const fn same(k: usize) -> Padding {
        assert!(k > 0, "Padding::same: the kernel size is 0");
        Padding {
            top: (k - 1) / 2,
            bottom: k / 2,
            left: (k - 1) / 2,
            right: k / 2,
        }
    }
}

/// Which of the taps of a kernel are used; those that are not cost nothing.
///
/// A masked convolution (PixelCNN) multiplies by a kernel some of whose taps are fixed at zero.
/// Naming them here leaves them out of the work: their weights are never read, and their
/// gradients are exactly 0.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Taps {
    kernel: [usize; 2],
    /// Bit r * kw + c; not looked at when `all`.
    used: [u64; Taps::WORDS],
    all: bool,
}

impl Taps {
    const WORDS: usize = 4;
    /// How many taps a kernel of which only some are used may have.
    pub const LIMIT: usize = Taps::WORDS * 64;

    /// Every tap of a `kh` x `kw` kernel.
    pub const fn all(kh: usize, kw: usize) -> Taps {
        Taps {
            kernel: [kh, kw],
            used: [0; Taps::WORDS],
            all: true,
        }
    }

    /// The taps (row, column) for which `used` says so.
    ///
    /// # Panics
    /// If some are left out of a kernel of more than [`Taps::LIMIT`].
    #[track_caller]
    pub fn from_fn(kh: usize, kw: usize, mut used: impl FnMut(usize, usize) -> bool) -> Taps {
        let mut taps = Taps::all(kh, kw);
        for r in 0..kh {
            for c in 0..kw {
                let bit = r * kw + c;
                if !used(r, c) {
                    assert!(
                        kh * kw <= Taps::LIMIT,
                        "Taps: a kernel with unused taps may have {} of them, found {kh} x {kw}",
                        Taps::LIMIT
                    );
                    taps.all = false;
                } else if bit < Taps::LIMIT {
                    taps.used[bit / 64] |= 1 << (bit % 64);
                }
            }
        }
        if taps.all { Taps::all(kh, kw) } else { taps }
    }

    /// The kernel size [kh, kw] these taps belong to.
    pub const fn kernel(&self) -> [usize; 2] {
        self.kernel
    }

    /// Whether tap (r, c) is used; never outside the kernel.
    pub const fn contains(&self, r: usize, c: usize) -> bool {
        let bit = r * self.kernel[1] + c;
        r < self.kernel[0]
            && c < self.kernel[1]
            && (self.all || self.used[bit / 64] >> (bit % 64) & 1 == 1)
    }

    /// How many taps are used.
    pub fn count(&self) -> usize {
        if self.all {
            self.kernel[0] * self.kernel[1]
        } else {
            self.used
                .iter()
                .map(|word| word.count_ones() as usize)
                .sum()
        }
    }

    /// The used taps (row, column), row by row.
    pub fn iter(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        (0..self.kernel[0])
            .flat_map(|r| (0..self.kernel[1]).map(move |c| (r, c)))
            .filter(|&(r, c)| self.contains(r, c))
    }
}

impl std::fmt::Debug for Taps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [kh, kw] = self.kernel;
        write!(f, "Taps({} of {kh}x{kw}", self.count())?;
        if !self.all {
            for r in 0..kh {
                f.write_str(if r == 0 { ": " } else { "/" })?;
                for c in 0..kw {
                    f.write_str(if self.contains(r, c) { "x" } else { "." })?;
                }
            }
        }
        f.write_str(")")
    }
}

/// A two-dimensional convolution: every size that its three kernels need.
///
/// ```text
/// y[n, i, j, o] = sum over used taps (r, c) and channels k of
///     x[n, i*stride[0] + r*dilation[0] - top, j*stride[1] + c*dilation[1] - left, k] * w[r, c, k, o]
/// ```
/// with x = 0 outside the image. Shapes: x `[batch, in_height, in_width, in_channels]`,
/// w `[kh, kw, in_channels, out_channels]`, y `[batch, out_height, out_width, out_channels]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Conv2d {
    /// Images.
    pub batch: usize,
    /// Rows of an input image.
    pub in_height: usize,
    /// Columns of an input image.
    pub in_width: usize,
    /// Channels of an input pixel.
    pub in_channels: usize,
    /// Channels of an output pixel.
    pub out_channels: usize,
    /// Rows and columns of the kernel.
    pub kernel: [usize; 2],
    /// Input rows and columns from one output pixel to the next.
    pub stride: [usize; 2],
    /// Input rows and columns from one tap to the next.
    pub dilation: [usize; 2],
    /// Zeros around the image.
    pub padding: Padding,
    /// The taps that are used.
    pub taps: Taps,
}

impl Conv2d {
    /// A convolution of images `[batch, height, width, channels]` with stride and dilation 1, no
    /// padding, and every tap used.
    ///
    /// # Panics
    /// If a kernel size is 0, or a tensor's length does not fit `usize`.
    #[track_caller]
    pub fn new(image: [usize; 4], out_channels: usize, kernel: [usize; 2]) -> Conv2d {
        let [batch, in_height, in_width, in_channels] = image;
        let g = Conv2d {
            batch,
            in_height,
            in_width,
            in_channels,
            out_channels,
            kernel,
            stride: [1, 1],
            dilation: [1, 1],
            padding: Padding::NONE,
            taps: Taps::all(kernel[0], kernel[1]),
        };
        g.check();
        g
    }

    /// The same with this stride.
    ///
    /// # Panics
    /// If one is 0.
    #[track_caller]
    pub fn with_stride(mut self, stride: [usize; 2]) -> Conv2d {
        self.stride = stride;
        self.check();
        self
    }

    /// The same with this dilation.
    ///
    /// # Panics
    /// If one is 0.
    #[track_caller]
    pub fn with_dilation(mut self, dilation: [usize; 2]) -> Conv2d {
        self.dilation = dilation;
        self.check();
        self
    }

    /// The same with this padding.
    ///
    /// # Panics
    /// If the output's length does not fit `usize`.
    #[track_caller]
    pub fn with_padding(mut self, padding: Padding) -> Conv2d {
        self.padding = padding;
        self.check();
        self
    }

    /// The same with these taps only.
    ///
    /// # Panics
    /// If they belong to another kernel size.
    #[track_caller]
    pub fn with_taps(mut self, taps: Taps) -> Conv2d {
        self.taps = taps;
        self.check();
        self
    }

    /// Asserts what the constructors assert: the fields are public, so each kernel asks again.
    #[track_caller]
    pub fn check(&self) {
        assert!(
            self.kernel.iter().all(|&k| k > 0),
            "conv: a kernel of size {:?} has no taps",
            self.kernel
        );
        assert!(
            self.stride.iter().all(|&s| s > 0),
            "conv: stride {:?} does not move",
            self.stride
        );
        assert!(
            self.dilation.iter().all(|&d| d > 0),
            "conv: dilation {:?} puts all taps on one pixel",
            self.dilation
        );
        assert!(
            self.taps.kernel() == self.kernel,
            "conv: taps for a kernel {:?}, but the kernel is {:?}",
            self.taps.kernel(),
            self.kernel
        );
        let fits = |numbers: [usize; 4]| {
            numbers
                .iter()
                .try_fold(8usize, |product, &n| product.checked_mul(n))
                .is_some()
        };
        let reach = |k: usize, d: usize| k.checked_mul(d).is_some();
        let p = &self.padding;
        let padded = |n: usize, a: usize, b: usize| {
            n.checked_add(a).and_then(|n| n.checked_add(b)).unwrap_or(0)
        };
        let (height, width) = (
            padded(self.in_height, p.top, p.bottom),
            padded(self.in_width, p.left, p.right),
        );
        let [kh, kw] = self.kernel;
        assert!(
            height >= self.in_height
                && width >= self.in_width
                && reach(kh, self.dilation[0])
                && reach(kw, self.dilation[1])
                && fits([self.batch, height, width, self.in_channels])
                && fits([kh, kw, self.in_channels, self.out_channels])
                && fits([self.batch, height, width, self.out_channels]),
            "conv: the sizes of {self:?} do not fit the address space"
        );
    }

    /// (n + padding - dilation (k - 1) - 1) / stride + 1, or 0 where the kernel does not fit.
    pub(crate) fn out_size(
        n: usize,
        padding: usize,
        k: usize,
        dilation: usize,
        stride: usize,
    ) -> usize {
        (n + padding)
            .checked_sub(dilation * (k - 1) + 1)
            .map_or(0, |room| room / stride + 1)
    }

    /// Rows of an output image; 0 where the kernel is larger than the padded image.
    pub fn out_height(&self) -> usize {
        let padding = self.padding.top + self.padding.bottom;
        let (k, d, s) = (self.kernel[0], self.dilation[0], self.stride[0]);
        Conv2d::out_size(self.in_height, padding, k, d, s)
    }

    /// Columns of an output image; 0 where the kernel is larger than the padded image.
    pub fn out_width(&self) -> usize {
        let padding = self.padding.left + self.padding.right;
        let (k, d, s) = (self.kernel[1], self.dilation[1], self.stride[1]);
        Conv2d::out_size(self.in_width, padding, k, d, s)
    }

    /// Elements of x.
    pub fn x_len(&self) -> usize {
        self.batch * self.in_height * self.in_width * self.in_channels
    }

    /// Elements of w.
    pub fn w_len(&self) -> usize {
        self.kernel[0] * self.kernel[1] * self.in_channels * self.out_channels
    }

    /// Elements of y.
    pub fn y_len(&self) -> usize {
        self.batch * self.out_height() * self.out_width() * self.out_channels
    }

    /// Additions and multiplications of one kernel, unused taps left out, padding counted as if
    /// it were image: 2 x output pixels x used taps x in_channels x out_channels.
    pub fn flops(&self) -> u64 {
        2 * self.y_len() as u64 * self.taps.count() as u64 * self.in_channels as u64
    }

    /// The same convolution with an image's pixels in one row if its kernel sees one pixel only:
    /// then rows mean nothing, and short ones would be cut into short tiles.
    pub(crate) fn flattened(&self) -> Conv2d {
        let single = self.kernel == [1, 1] && self.stride == [1, 1] && self.taps.count() == 1;
        let mut g = *self;
        if single && self.padding == Padding::NONE && self.in_width < 56 {
            g.in_width *= g.in_height;
            g.in_height = self.in_height.min(1);
        }
        g
    }

    /// The input row (or column) that tap row `k` of output row `i` falls on,
    /// i * stride + k * dilation - padding, if it lies inside the image.
    pub(crate) fn source(
        i: usize,
        k: usize,
        stride: usize,
        dilation: usize,
        padding: usize,
        n: usize,
    ) -> Option<usize> {
        (i * stride + k * dilation)
            .checked_sub(padding)
            .filter(|&at| at < n)
    }
}
