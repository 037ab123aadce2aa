"""What this machine has of what the product needs: packages, GPUs, kernels, disk, data.

Nothing heavy is imported here, not even numpy: the checks must answer where a package is absent or broken.
"""
