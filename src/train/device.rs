//! Where the model lives.

use anyhow::{Result, anyhow, bail, ensure};
use tch::Device;

/// `cpu`, `cuda` or `cuda:N`.
///
/// # Errors
/// If the text is another, or the machine has no such device.
pub fn parse(text: &str) -> Result<Device> {
    let number = match text.split_once(':') {
        None if text == "cpu" => return Ok(Device::Cpu),
        None if text == "cuda" => 0,
        Some(("cuda", number)) => number.parse()?,
        _ => bail!("--device: `{text}` is neither cpu nor cuda nor cuda:N"),
    };
    torch_ext::load_cuda().map_err(|error| {
        anyhow!(
            "--device: {text} needs libtorch's CUDA half, which cannot be loaded: {error}; \
             `scripts/libtorch --cuda` fetches it, or use --device cpu"
        )
    })?;
    let found = tch::Cuda::device_count();
    ensure!(
        found > number,
        "--device: {text} is not there: libtorch sees {found} CUDA devices; name another, or use --device cpu"
    );
    Ok(Device::Cuda(number as usize))
}

/// Sets the number of CPU threads; 0 leaves libtorch's choice.
pub fn set_threads(threads: i32) {
    if threads > 0 {
        tch::set_num_threads(threads);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_does_not_exist_is_named() {
        assert_eq!(parse("cpu").unwrap(), Device::Cpu);
        assert_eq!(
            parse("gpu").unwrap_err().to_string(),
            "--device: `gpu` is neither cpu nor cuda nor cuda:N"
        );
        let error = parse("cuda:99").unwrap_err().to_string();
        match torch_ext::load_cuda() {
            Ok(()) => assert!(error.starts_with("--device: cuda:99 is not there: libtorch sees "), "{error}"),
            Err(reason) => assert_eq!(
                error,
                format!(
                    "--device: cuda:99 needs libtorch's CUDA half, which cannot be loaded: {reason}; \
                     `scripts/libtorch --cuda` fetches it, or use --device cpu"
                )
            ),
        }
    }
}
