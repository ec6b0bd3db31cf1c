// CUDA kernels over raw pointers; a launcher returns nullptr or what CUDA says went wrong
#pragma once

#include "../core/norm_arguments.h"
#include "../core/raw_arguments.h"

namespace lowlight {

// where a kernel runs: the number of the device its pointers belong to, and a cudaStream_t of it. A launch leaves
// `device` current; who has to return to another sees to that (the Python side does, with torch.cuda.device).
struct Place {
    int device;
    void* stream;
};

const char* launch_noise(const NoiseArguments&, Place);
const char* launch_philox(const int64_t* counter, const int64_t* key, int64_t* words, int64_t n, Place);
// one level (arguments.levels == 1)
const char* launch_haar_forward(const HaarArguments&, Place);
const char* launch_haar_inverse(const HaarArguments&, Place);
const char* launch_step(const StepArguments&, Place);
const char* launch_step_gradients(const StepGradients&, Place);
const char* launch_q_sample(const ForwardArguments&, Place);
const char* launch_q_sample_gradients(const ForwardGradients&, Place);
const char* launch_poisson(const PoissonArguments&, Place);
const char* launch_tukey(const TukeyArguments&, Place);
const char* launch_raw_noise(const RawNoiseArguments&, Place);
const char* launch_exposure(const ExposureArguments&, Place);
const char* launch_exposure_gradients(const ExposureGradients&, Place);

// workspace: device memory for as many numbers of the accumulator's type as the bodies' functions ask for
const char* launch_norm(const NormArguments&, void* workspace, Place);
const char* launch_norm_gradients(const NormGradients&, void* workspace, Place);
const char* launch_layer_norm(const NormArguments&, Place);
const char* launch_layer_norm_gradients(const NormGradients&, void* workspace, Place);
// backward where there is a gradient
const char* launch_gate(const GateArguments&, Place);

// what the runtime can say about itself: its version, and the number of devices it sees
int cuda_runtime_version();
int cuda_device_count();

}  // namespace lowlight
