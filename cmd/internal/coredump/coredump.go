// Package coredump keeps what a process holds in memory out of files and of other processes of its user.
package coredump

// Forbid sees to it that no core file of this process is written, whatever ends it, and, where the system knows that,
// that no other process of the same user can look into its memory or its environment. It holds until the process ends.
func Forbid() error {
	if err := noFile(); err != nil {
		return err
	}
	return undumpable()
}
