"""Runs what nvcc makes of the CUDA kernels without a GPU: their PTX, translated into C++, on a machine of fibers.

reading.py takes a PTX file apart, translation.py and operands.py write a kernel of it as C++ (thread.h has what that
includes), and machine.cpp runs it: block after block, a fiber a thread, warp by warp up to the next shuffle or barrier.
runtime.cpp stands in for the CUDA runtime, so that nvcc's own host code launches here, from `<<<>>>` on. building.py
puts a .cu file, its kernels (each compiled when it is first launched) and module.cpp together; device.py is the result
in the place of `_C`.

What a GPU would bear in silence ends the launch, with the line of the PTX: an address outside the tensors of the call
or not aligned to the access, shared memory that is read unwritten, or written and used by two threads with no barrier
between, barriers and shuffles that some threads of a block or warp miss. What it cannot show: what ptxas makes of the
PTX, NaN's bits, which the device sets its own way, and time.
"""
