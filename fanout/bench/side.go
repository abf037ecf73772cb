package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"sync"

	"tallystream/simulator/viewers"
)

// servers are the server processes of one measurement.
type servers []*server

type server struct {
	cmd     *exec.Cmd
	in      io.WriteCloser
	write   *json.Encoder
	read    *json.Decoder
	address netip.AddrPort
}

// startServers starts n processes of a kind.
func startServers(n int, s setup) (servers, error) {
	var all servers
	for range n {
		one, err := startServer(s)
		if err != nil {
			return nil, errors.Join(err, all.close())
		}
		all = append(all, one)
	}
	return all, nil
}

func startServer(s setup) (*server, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this program: %w", err)
	}
	cmd := exec.Command(program, "server")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("starting a server: %w", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("starting a server: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting a server: %w", err)
	}
	one := &server{cmd: cmd, in: in, write: json.NewEncoder(in), read: json.NewDecoder(out)}
	a, err := one.ask(s)
	if err == nil {
		one.address, err = netip.ParseAddrPort(a.Address)
	}
	if err != nil {
		return nil, errors.Join(err, one.close())
	}
	return one, nil
}

// ask sends one line and reads its answer.
func (s *server) ask(what any) (answer, error) {
	var a answer
	if err := s.write.Encode(what); err != nil {
		return a, fmt.Errorf("telling a server: %w", err)
	}
	if err := s.read.Decode(&a); err != nil {
		return a, fmt.Errorf("listening to a server: %w", err)
	}
	if a.Error != "" {
		return a, fmt.Errorf("server: %s", a.Error)
	}
	return a, nil
}

func (s *server) close() error {
	err := s.in.Close() // it ends with its input
	return errors.Join(err, s.cmd.Wait())
}

// do has every server do something, and adds their answers up.
func (s servers) do(what string) (answer, error) {
	answers, errs := make([]answer, len(s)), make([]error, len(s))
	var group sync.WaitGroup
	for i, one := range s {
		group.Go(func() { answers[i], errs[i] = one.ask(command{what}) })
	}
	group.Wait()
	var sum answer
	for _, a := range answers {
		sum.Open += a.Open
		sum.InUse += a.InUse
		sum.Reads += a.Reads
	}
	return sum, errors.Join(errs...)
}

func (s servers) usage() (viewers.Usage, error) { return viewers.ProcessesUsage(s.processes()...) }

func (s servers) processes() []int {
	pids := make([]int, len(s))
	for i, one := range s {
		pids[i] = one.cmd.Process.Pid
	}
	return pids
}

func (s servers) targets() []viewers.Target {
	out := make([]viewers.Target, len(s))
	for i, one := range s {
		out[i] = viewers.Target{Address: one.address, Host: one.address.String(), Path: "/v1/live"}
	}
	return out
}

// close ends them all at once.
func (s servers) close() error {
	var errs []error
	for _, one := range s {
		errs = append(errs, one.in.Close())
	}
	for _, one := range s {
		errs = append(errs, one.cmd.Wait())
	}
	return errors.Join(errs...)
}

// makeCommand makes the command of another process.
type makeCommand = func() *exec.Cmd

// crowdCommand makes another process of this program that is viewers.
func crowdCommand() (makeCommand, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this program: %w", err)
	}
	return func() *exec.Cmd { return exec.Command(program, "viewers") }, nil
}
