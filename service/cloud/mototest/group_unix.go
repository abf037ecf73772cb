//go:build unix

package mototest

import "syscall"

// ownGroup keeps a Ctrl-C of the terminal from moto, which has to outlive the
// services that drain. No Pdeathsig: it goes by the thread that started the
// child, which may end before the process; the pipe ends with the process.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
