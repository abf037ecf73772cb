//go:build unix

package viewers

import (
	"os/exec"
	"syscall"
)

// detach keeps the terminal's Ctrl-C from the process: its parent ends it, after
// the report.
func detach(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }
