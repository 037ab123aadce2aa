"""The list of all checks, and running them."""

from concurrent.futures import ThreadPoolExecutor

from artquant_plugin.environment import display, imports, machine, packages, storage
from artquant_plugin.environment.findings import Check, Finding, guarded

CHECKS = (
    Check("python", "Python", packages.check_python),
    Check("package", "packages", packages.check_packages),
    Check("extra", "extras", packages.check_extras),
    Check("import", "imports", imports.check_imports),
    Check("gpu", "GPUs and kernels", machine.check_machine),
    Check("compiler", "C++ compiler", machine.check_compiler),
    Check("disk", "data", storage.check_data_disk),
    Check("disk", "Hub cache", storage.check_hub_disk),
    Check("disk", "current folder", storage.check_current_disk),
    Check("hub", "login", storage.check_login),
    Check("data", "datasets", storage.check_datasets),
    Check("font", "fonts", display.check_fonts),
    Check("browser", "browser", display.check_browser),
)


def survey(*, quick: bool = False) -> list[Finding]:
    """Run all checks.

    Args:
        quick: whether to leave out the import of lmms-eval, of our model and of our trainer, which takes most of the
            time.

    Returns:
        The findings in the order of `CHECKS`.
    """
    checks = [check for check in CHECKS if not (quick and check.area == "import")]
    with ThreadPoolExecutor(max_workers=2) as pool:  # for the two checks that wait for a process of their own
        slow = {check.area: pool.submit(guarded, check) for check in checks if check.area in ("import", "gpu")}
        by_check = [slow[check.area].result() if check.area in slow else guarded(check) for check in checks]
    return [finding for findings in by_check for finding in findings]
