//! Matrix products, f32, beside `matrixmultiply` and `gemm`.
//!
//! Throughput counts floating-point operations, two for each multiply-add: Gelem/s is GFLOP/s.
//! The peak that they are a share of is printed first, for as many threads as the group uses.
//! `packed` has its right-hand operand packed beforehand, as the weights of a layer are.
//! `matrixmultiply` brings threads of its own, so it stands in the groups of one thread only.

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use kernels::gemm::{Beta, Epilogue, Mat, PackedB, gemm, gemm_packed};
use rayon::ThreadPool;

mod common;
use common::time;

/// Shapes of layers: m x k x n.
const SHAPES: &[(usize, usize, usize)] = &[
    (256, 256, 256),
    (512, 512, 512),
    (1024, 1024, 1024),
    (2048, 2048, 2048),
    (784, 576, 64),
    (25088, 576, 64),
    (128, 784, 400),
    (64, 784, 500),
    (6272, 128, 512),
];
/// What must not pay for packing.
const SMALL: &[(usize, usize, usize)] = &[(4, 4, 4), (4, 784, 8), (16, 16, 16), (64, 64, 64)];
/// Weight gradients: few numbers out of a long sum.
const LONG: &[(usize, usize, usize)] = &[(16, 50_000, 32), (576, 25_088, 64)];

/// Which operands are transposed, and whether c is added to.
#[derive(Clone, Copy)]
struct Form {
    name: &'static str,
    a_t: bool,
    b_t: bool,
    beta: Beta,
}

const PLAIN: Form = Form {
    name: "",
    a_t: false,
    b_t: false,
    beta: Beta::Zero,
};
const FORMS: &[Form] = &[
    Form {
        name: " a^T",
        a_t: true,
        ..PLAIN
    },
    Form {
        name: " b^T",
        b_t: true,
        ..PLAIN
    },
    Form {
        name: " a^T b^T",
        a_t: true,
        b_t: true,
        ..PLAIN
    },
    Form {
        name: " +=",
        beta: Beta::One,
        ..PLAIN
    },
];

fn compare(
    group: &mut BenchmarkGroup<WallTime>,
    pool: &ThreadPool,
    (m, k, n): (usize, usize, usize),
    form: Form,
) {
    let (a, b) = (vec![0.5f32; m * k], vec![0.25f32; k * n]);
    let mut c = vec![0.0f32; m * n];
    let mat = |x, rows, cols, t: bool| {
        if t {
            Mat::new(x, cols, rows).t()
        } else {
            Mat::new(x, rows, cols)
        }
    };
    let (a, b) = (mat(&a, m, k, form.a_t), mat(&b, k, n, form.b_t));
    let shape = &format!("{m}x{k}x{n}{}", form.name);
    group.throughput(Throughput::Elements(2 * (m * k * n) as u64));
    time(group, pool, ("kernels", shape), || {
        gemm(a, b, form.beta, &mut c, Epilogue::NONE)
    });
    let packed = PackedB::new(b);
    time(group, pool, ("kernels packed", shape), || {
        gemm_packed(a, &packed, form.beta, &mut c, n, Epilogue::NONE)
    });
    let stride = |x: usize| x as isize;
    let add = form.beta == Beta::One;
    let threads = pool.current_num_threads();
    if threads == 1 {
        time(group, pool, ("matrixmultiply", shape), || {
            // SAFETY: shapes and strides are those of the slices.
            unsafe {
                matrixmultiply::sgemm(
                    m,
                    k,
                    n,
                    1.0,
                    a.data.as_ptr(),
                    stride(a.row_stride),
                    stride(a.col_stride),
                    b.data.as_ptr(),
                    stride(b.row_stride),
                    stride(b.col_stride),
                    if add { 1.0 } else { 0.0 },
                    c.as_mut_ptr(),
                    stride(n),
                    1,
                )
            }
        });
    }
    let parallelism = match threads {
        1 => ::gemm::Parallelism::None,
        _ => ::gemm::Parallelism::Rayon(threads),
    };
    time(group, pool, ("gemm crate", shape), || {
        // SAFETY: shapes and strides are those of the slices.
        unsafe {
            ::gemm::gemm(
                m,
                n,
                k,
                c.as_mut_ptr(),
                1,
                stride(n),
                add,
                a.data.as_ptr(),
                stride(a.col_stride),
                stride(a.row_stride),
                b.data.as_ptr(),
                stride(b.col_stride),
                stride(b.row_stride),
                1.0,
                1.0,
                false,
                false,
                false,
                parallelism,
            )
        }
    });
}

fn products(criterion: &mut Criterion) {
    for threads in [1, 2] {
        let pool = common::pool("gemm", threads);
        let mut group = criterion.benchmark_group(format!("gemm {threads}T"));
        for &shape in SHAPES.iter().chain(SMALL).chain(LONG) {
            compare(&mut group, &pool, shape, PLAIN);
        }
        for &form in FORMS {
            for shape in [(512, 512, 512), (128, 784, 400)] {
                compare(&mut group, &pool, shape, form);
            }
        }
        group.finish();
    }
}

criterion_group!(benches, products);
criterion_main!(benches);
