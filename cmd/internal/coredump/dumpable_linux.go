package coredump

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// undumpable clears the flag by which the kernel lets a process be traced and its /proc files be read by its own user
// (prctl(2), PR_SET_DUMPABLE). A pipe in core_pattern, which no limit holds for, gets nothing either.
func undumpable() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("forbid dumps: %w", err)
	}
	return nil
}
