//! Files of named tensors: round trips, and bytes that nobody wrote.

use grad::Tensor;
use nn::Params;
use nn::save::{Metadata, ParamsError, read_tensors, write_tensors};
use proptest::prelude::*;

fn params() -> Params<f32> {
    let mut params = Params::new();
    params.add(
        "encoder.0.weight".into(),
        Tensor::from_fn([3, 2], |i| i as f32 - 2.5),
        true,
    );
    params.add(
        "encoder.0.bias".into(),
        Tensor::new([2], &[1e-40, -0.0]),
        true,
    );
    params.add("norm.running_mean".into(), Tensor::scalar(7.0), false);
    params
}

fn metadata() -> Metadata {
    let pairs = [
        ("model", "vae"),
        ("config", "hidden = [400]\nname = \"\\\u{e9}\""),
        ("step", "10"),
    ];
    pairs.map(|(k, v)| (k.to_string(), v.to_string())).into()
}

fn bits(params: &Params<f32>) -> Vec<(String, Vec<u32>)> {
    let numbers = |t: &Tensor<f32>| t.data().iter().map(|x| x.to_bits()).collect();
    params
        .tensors()
        .map(|(name, tensor)| (name, numbers(tensor)))
        .collect()
}

/// The one-line error of restoring from these tensors.
fn refusal(tensors: &[(&str, Tensor<f32>)]) -> String {
    let bytes = write_tensors(tensors.iter().map(|(name, t)| (*name, t)), &Metadata::new());
    let mut target = params();
    let error = target.restore(&bytes).unwrap_err().to_string();
    assert!(!error.contains('\n'));
    assert_eq!(
        bits(&target),
        bits(&params()),
        "a failed restore changes nothing"
    );
    error
}

fn tensors() -> Vec<(&'static str, Tensor<f32>)> {
    let names = ["encoder.0.weight", "encoder.0.bias", "norm.running_mean"];
    names
        .into_iter()
        .zip(params().iter().map(|param| param.value.clone()))
        .collect()
}

#[test]
fn what_was_written_comes_back() {
    let bytes = params().to_bytes(&metadata());
    let mut other = params();
    for param in other.iter_mut() {
        param.value.make_mut().fill(f32::NAN);
    }
    assert_eq!(other.restore(&bytes).unwrap(), metadata());
    assert_eq!(bits(&other), bits(&params()));
    assert_eq!(
        params().to_bytes(&metadata()),
        bytes,
        "equal content, equal bytes"
    );
}

#[test]
fn any_reader_of_the_format_can_read_it() {
    let bytes = params().to_bytes(&metadata());
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let weight = file.tensor("encoder.0.weight").unwrap();
    assert_eq!((weight.shape(), weight.data().len()), (&[3, 2][..], 24));
    // The numbers begin at a multiple of 8, so that they can be mapped.
    assert_eq!((bytes.len() - 4 * 9) % 8, 0);
}

#[test]
fn files_from_elsewhere_have_no_checksum() {
    let data: Vec<u8> = [1.5f32, 2.5].iter().flat_map(|x| x.to_le_bytes()).collect();
    let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![2], &data);
    let bytes = safetensors::serialize([("x", view.unwrap())], None).unwrap();
    let (tensors, metadata) = read_tensors(&bytes).unwrap();
    assert_eq!(tensors, [("x".to_string(), Tensor::new([2], &[1.5, 2.5]))]);
    assert!(metadata.is_empty());
}

#[test]
fn wrong_tensors_are_named() {
    let mut list = tensors();
    list.remove(1);
    assert_eq!(
        refusal(&list),
        "tensor \"encoder.0.bias\": expected shape [2], found no tensor of this name"
    );

    let mut list = tensors();
    list.push(("decoder", Tensor::zeros([4])));
    assert_eq!(
        refusal(&list),
        "tensor \"decoder\": expected no tensor of this name, found one of shape [4]"
    );

    let mut list = tensors();
    list[0].1 = Tensor::zeros([2, 3]);
    assert_eq!(
        refusal(&list),
        "tensor \"encoder.0.weight\": expected shape [3, 2], found shape [2, 3]"
    );

    let mut list = tensors();
    list[1].1 = Tensor::new([2], &[0.0, f32::INFINITY]);
    assert_eq!(
        refusal(&list),
        "tensor \"encoder.0.bias\": expected finite numbers, found inf at position 1"
    );
}

#[test]
fn other_types_and_too_many_axes_are_named() {
    let write = |dtype, shape: Vec<usize>, data: &[u8]| {
        let view = safetensors::tensor::TensorView::new(dtype, shape, data).unwrap();
        read_tensors(&safetensors::serialize([("x", view)], None).unwrap()).unwrap_err()
    };
    assert_eq!(
        write(safetensors::Dtype::F16, vec![2], &[0; 4]).to_string(),
        "tensor \"x\": expected numbers of type F32, found F16"
    );
    assert_eq!(
        write(safetensors::Dtype::F32, vec![1; 7], &[0; 4]).to_string(),
        "tensor \"x\": expected at most 6 axes, found shape [1, 1, 1, 1, 1, 1, 1]"
    );
}

#[test]
fn every_truncation_is_refused() {
    let bytes = params().to_bytes(&metadata());
    for end in 0..bytes.len() {
        assert!(
            read_tensors(&bytes[..end]).is_err(),
            "the first {end} bytes"
        );
    }
    let longer = [&bytes[..], &[0]].concat();
    assert!(read_tensors(&longer).is_err());
}

/// A flipped bit in the keys `__metadata__` or `checksum` may hide the checksum, but then it has
/// hit neither a tensor nor a string that anyone reads.
#[test]
fn no_flipped_bit_gives_another_model() {
    let bytes = params().to_bytes(&metadata());
    let mut unnoticed = 0;
    for bit in 0..8 * bytes.len() {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let mut target = params();
        if let Ok(found) = target.restore(&flipped) {
            unnoticed += 1;
            assert_eq!(bits(&target), bits(&params()), "bit {bit}");
            assert!(
                metadata()
                    .iter()
                    .all(|(key, value)| found.get(key) == Some(value))
            );
        }
    }
    assert!(
        unnoticed <= 8 * "checksum".len(),
        "{unnoticed} flipped bits went unnoticed"
    );
}

#[test]
#[should_panic(expected = "the name x occurs twice")]
fn names_are_unique() {
    let x = Tensor::scalar(1.0);
    write_tensors([("x", &x), ("x", &x)], &Metadata::new());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_tensors_come_back(
        shapes in proptest::collection::vec(proptest::collection::vec(0usize..4, 0..=6), 0..5),
        text in ".*",
        pattern: u32,
    ) {
        // Any bits, NaN included: the file keeps them; only `restore` insists on finite numbers.
        let tensors: Vec<(String, Tensor<f32>)> = (shapes.iter().enumerate())
            .map(|(i, shape)| {
                let numbers = |j| f32::from_bits(pattern.wrapping_mul(2 * j as u32 + 1));
                (format!("{text}{i}"), Tensor::from_fn(&shape[..], numbers))
            })
            .collect();
        let metadata = Metadata::from([(text.clone() + "key", text)]);
        let bytes = write_tensors(tensors.iter().map(|(n, t)| (n.clone(), t)), &metadata);
        let (found, strings) = read_tensors(&bytes).unwrap();
        prop_assert_eq!(strings, metadata);
        prop_assert_eq!(found.len(), tensors.len());
        for (name, tensor) in &tensors {
            let (_, read) = found.iter().find(|(n, _)| n == name).unwrap();
            prop_assert_eq!(read.shape(), tensor.shape());
            let same = |(a, b): (&f32, &f32)| a.to_bits() == b.to_bits();
            prop_assert!(read.data().iter().zip(tensor.data()).all(same));
        }
    }

    #[test]
    fn random_bytes_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let error = read_tensors(&bytes).unwrap_err();
        let is_format = matches!(error, ParamsError::Format { .. });
        prop_assert!(is_format && !error.to_string().contains('\n'));
    }

    #[test]
    fn random_headers_are_never_a_panic(
        dtype in "(F32|F16|I64|F4|F32x)",
        shape in proptest::collection::vec(prop_oneof![0usize..5, any::<usize>()], 0..8),
        offsets in [prop_oneof![0usize..20, any::<usize>()], prop_oneof![0usize..20, any::<usize>()]],
        data in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let header = format!(
            "{{\"x\":{{\"dtype\":\"{dtype}\",\"shape\":{shape:?},\"data_offsets\":{offsets:?}}}}}"
        );
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.extend(&data);
        if let Ok((tensors, _)) = read_tensors(&bytes) {
            prop_assert_eq!(4 * tensors[0].1.len(), data.len());
        }
    }
}
