#include "ext.h"

#include <dlfcn.h>
#include <unistd.h>

#include <cstring>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/Context.h>
#include <ATen/autocast_mode.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/Event.h>
#include <c10/core/impl/VirtualGuardImpl.h>

namespace {

thread_local std::string message;

template <class Body> int guarded(Body &&body) noexcept {
  try {
    body();
    return 0;
  } catch (const c10::Error &error) {
    message = error.what_without_backtrace();
  } catch (const std::exception &error) {
    message = error.what();
  } catch (...) {
    message = "an exception of no known type";
  }
  return 1;
}

at::DeviceType device_type(int number) { return static_cast<at::DeviceType>(number); }

std::vector<at::Tensor> list(size_t count, tensors items) {
  std::vector<at::Tensor> out;
  out.reserve(count);
  for (size_t i = 0; i < count; ++i) out.push_back(*items[i]);
  return out;
}

// The fused kernels walk through memory and look at no stride.
bool lies_alike(const at::Tensor &a, const at::Tensor &b) {
  return a.scalar_type() == b.scalar_type() && a.device() == b.device() && a.sizes() == b.sizes() &&
         a.strides() == b.strides() && a.is_non_overlapping_and_dense();
}

void check_slot(const at::Tensor &parameter, const at::Tensor &gradient, const at::Tensor &exp_avg,
                const at::Tensor &exp_avg_sq, const at::Tensor &step) {
  TORCH_CHECK(lies_alike(exp_avg, parameter) && lies_alike(exp_avg_sq, parameter),
              "the moments do not lie in memory as their parameter does");
  TORCH_CHECK(lies_alike(gradient, parameter), "the gradient is not of its parameter's kind, device and size");
  TORCH_CHECK(step.numel() == 1 && step.scalar_type() == at::kFloat && step.device() == parameter.device(),
              "the step is not one float on its parameter's device");
}

// A gradient that lies otherwise in memory is copied.
at::Tensor like(const at::Tensor &parameter, const at::Tensor &gradient) {
  if (lies_alike(gradient, parameter) || gradient.sizes() != parameter.sizes()) return gradient;
  return at::empty_like(parameter).copy_(gradient);
}

} // namespace

const char *te_error() { return message.c_str(); }

int te_autocast_enter(int type, int *was_enabled, int *dtype_before) {
  return guarded([&] {
    const auto device = device_type(type);
    *was_enabled = at::autocast::is_autocast_enabled(device);
    *dtype_before = static_cast<int>(at::autocast::get_autocast_dtype(device));
    at::autocast::set_autocast_dtype(device, at::kBFloat16);
    at::autocast::set_autocast_enabled(device, true);
    at::autocast::increment_nesting();
  });
}

int te_autocast_leave(int type, int was_enabled, int dtype_before) {
  return guarded([&] {
    const auto device = device_type(type);
    if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
    at::autocast::set_autocast_enabled(device, was_enabled != 0);
    at::autocast::set_autocast_dtype(device, static_cast<at::ScalarType>(dtype_before));
  });
}

int te_fused_adamw(size_t count, tensors parameters, tensors gradients, tensors exp_avgs, tensors exp_avg_sqs,
                   tensors steps, te_adamw rule, const at::Tensor *found_inf) {
  return guarded([&] {
    at::NoGradGuard no_grad;
    auto params = list(count, parameters), averages = list(count, exp_avgs), squares = list(count, exp_avg_sqs);
    auto counts = list(count, steps);
    std::vector<at::Tensor> grads;
    for (size_t i = 0; i < count; ++i) {
      grads.push_back(like(params[i], *gradients[i]));
      check_slot(params[i], grads[i], averages[i], squares[i], counts[i]);
    }
    std::optional<at::Tensor> skip;
    if (found_inf) skip = *found_inf;
    TORCH_CHECK(!skip || (skip->numel() == 1 && skip->scalar_type() == at::kFloat), "found_inf is not one float");
    if (count == 0) return;
    // As torch.optim: the kernel wants steps that count this one, and a skipped one is counted back.
    at::_foreach_add_(counts, 1);
    at::_fused_adamw_(params, grads, averages, squares, {}, counts, rule.lr, rule.beta1, rule.beta2,
                      rule.weight_decay, rule.eps, /*amsgrad=*/false, /*maximize=*/false, {}, skip);
    if (skip) at::_foreach_sub_(counts, std::vector<at::Tensor>(count, *skip));
  });
}

int te_clip_gradients(size_t count, tensors gradients, double max_norm, tensor *norm) {
  return guarded([&] {
    at::NoGradGuard no_grad;
    TORCH_CHECK(count > 0, "there is no gradient");
    auto grads = list(count, gradients);
    auto total = at::linalg_vector_norm(at::stack(at::_foreach_norm(grads)), 2);
    if (max_norm > 0) at::_foreach_mul_(grads, at::clamp_max(max_norm / (total + 1e-6), 1.0));
    *norm = new at::Tensor(total);
  });
}

int te_drop_gradients(size_t count, tensors parameters) {
  return guarded([&] {
    for (size_t i = 0; i < count; ++i) parameters[i]->mutable_grad().reset();
  });
}

int te_copy_all(size_t count, tensors to, tensors from) {
  return guarded([&] {
    at::NoGradGuard no_grad;
    if (count > 0) at::_foreach_copy_(list(count, to), list(count, from));
  });
}

int te_to_channels_last(const at::Tensor *parameter) {
  return guarded([&] {
    parameter->set_data(parameter->variable_data().contiguous(at::MemoryFormat::ChannelsLast));
  });
}

int te_channels_last(const at::Tensor *xs, tensor *out) {
  return guarded([&] { *out = new at::Tensor(xs->contiguous(at::MemoryFormat::ChannelsLast)); });
}

int te_upload(const uint8_t *bytes, const int64_t *size, size_t dims, int type, int index, tensor *out) {
  return guarded([&] {
    const at::Device device(device_type(type), static_cast<at::DeviceIndex>(index));
    const auto options = at::TensorOptions().dtype(at::kByte).pinned_memory(device.is_cuda());
    auto slab = at::empty(at::IntArrayRef(size, dims), options);
    std::memcpy(slab.data_ptr(), bytes, slab.numel());
    // The pinned slab may go at once: its allocator waits for the copy before it is used again.
    *out = new at::Tensor(device.is_cuda() ? slab.to(device, at::kByte, /*non_blocking=*/true) : slab);
  });
}

int te_send(const at::Tensor *xs, int type, int index, tensor *out) {
  return guarded([&] {
    const at::Device device(device_type(type), static_cast<at::DeviceIndex>(index));
    const bool queued = device.is_cuda() && xs->is_cpu();
    const auto from = queued ? xs->pin_memory() : *xs;
    *out = new at::Tensor(from.to(device, xs->scalar_type(), /*non_blocking=*/queued));
  });
}

int te_download(const at::Tensor *xs, tensor *out) {
  return guarded([&] {
    if (xs->is_cpu()) {
      *out = new at::Tensor(*xs);
      return;
    }
    auto slab = at::empty(xs->sizes(), xs->options().device(at::kCPU).pinned_memory(true));
    *out = new at::Tensor(slab.copy_(*xs, /*non_blocking=*/true));
  });
}

int te_event_record(int type, int index, void **out) {
  return guarded([&] {
    *out = nullptr;
    const at::Device device(device_type(type), static_cast<at::DeviceIndex>(index));
    if (device.is_cpu()) return;
    auto event = std::make_unique<c10::Event>(device.type());
    event->record(c10::impl::VirtualGuardImpl(device.type()).getStream(device));
    *out = event.release();
  });
}

int te_event_query(const void *event, int *reached) {
  return guarded([&] { *reached = !event || static_cast<const c10::Event *>(event)->query(); });
}

int te_event_wait(const void *event) {
  return guarded([&] {
    if (event) static_cast<const c10::Event *>(event)->synchronize();
  });
}

void te_event_free(void *event) {
  guarded([&] { delete static_cast<c10::Event *>(event); });
}

int te_load_library(const char *name) {
  return guarded([&] {
    // Beside the libtorch that this program runs with, wherever that is; else where the loader looks.
    Dl_info found;
    std::string path = name;
    if (dladdr(reinterpret_cast<void *>(&at::globalContext), &found) && found.dli_fname) {
      const std::string ours = found.dli_fname;
      const std::string beside = ours.substr(0, ours.rfind('/') + 1) + name;
      if (access(beside.c_str(), F_OK) == 0) path = beside;
    }
    if (!dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL)) throw std::runtime_error(dlerror());
  });
}

int te_cuda_memory(int index, int64_t *current, int64_t *peak) {
  return guarded([&] {
    const auto stats = c10::getDeviceAllocator(at::kCUDA)->getDeviceStats(static_cast<at::DeviceIndex>(index));
    const auto &bytes = stats.allocated_bytes[static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE)];
    *current = bytes.current;
    *peak = bytes.peak;
  });
}

int te_allow_tf32(int allow) {
  return guarded([&] {
    at::globalContext().setAllowTF32CuBLAS(allow != 0);
    at::globalContext().setAllowTF32CuDNN(allow != 0);
  });
}
