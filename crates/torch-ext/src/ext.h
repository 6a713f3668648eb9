// The border between Rust and libtorch's C++. Every function gives back 0, or 1 after an exception, whose message
// `te_error` then holds for the calling thread. No exception passes.
#pragma once
#include <cstddef>
#include <cstdint>

namespace at {
class Tensor;
}
typedef at::Tensor *tensor; // as torch-sys has it: on the heap, owned by tch
typedef const at::Tensor *const *tensors;

extern "C" {
const char *te_error();

int te_autocast_enter(int device_type, int *was_enabled, int *dtype_before);
int te_autocast_leave(int device_type, int was_enabled, int dtype_before);

struct te_adamw {
  double lr, beta1, beta2, weight_decay, eps;
};
int te_fused_adamw(size_t count, tensors parameters, tensors gradients, tensors exp_avgs, tensors exp_avg_sqs,
                   tensors steps, te_adamw rule, const at::Tensor *found_inf);
int te_clip_gradients(size_t count, tensors gradients, double max_norm, tensor *norm);
int te_drop_gradients(size_t count, tensors parameters);
int te_copy_all(size_t count, tensors to, tensors from);

int te_to_channels_last(const at::Tensor *parameter);
int te_channels_last(const at::Tensor *xs, tensor *out);

int te_upload(const uint8_t *bytes, const int64_t *size, size_t dims, int device_type, int device_index, tensor *out);
int te_send(const at::Tensor *xs, int device_type, int device_index, tensor *out);

int te_download(const at::Tensor *xs, tensor *out);
// An event is null on the CPU; `te_event_free` takes that too.
int te_event_record(int device_type, int device_index, void **out);
int te_event_query(const void *event, int *reached);
int te_event_wait(const void *event);
void te_event_free(void *event);

int te_load_library(const char *name);
int te_cuda_memory(int device_index, int64_t *current, int64_t *peak);
int te_allow_tf32(int allow);
}
