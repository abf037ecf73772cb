package mototest

import (
	"bufio"
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Variable names the environment variable that says where moto is: its
// moto_server, or a Python that has it.
const Variable = "TALLYSTREAM_MOTO"

// ErrMissing says that there is no moto on this machine.
var ErrMissing = errors.New("moto is missing: set " + Variable + " to what `bash .ci/moto` prints, or put moto_server into PATH")

// ErrVersion says that moto is there in another version than the pinned one.
var ErrVersion = errors.New("wrong version")

// startTimeout bounds the start: importing moto takes seconds on a busy machine.
const startTimeout = 4 * time.Minute

// program is what Python runs: the corrections of moto, and then its server.
//
//go:embed pinned.py kinesis.py dynamodb.py kms.py serve.py
var program embed.FS

// source puts the files of program into one.
func source() (string, error) {
	var b strings.Builder
	for _, name := range []string{"pinned.py", "kinesis.py", "dynamodb.py", "kms.py", "serve.py"} {
		text, err := program.ReadFile(name)
		if err != nil {
			return "", fmt.Errorf("starting moto: %w", err)
		}
		b.Write(text)
	}
	return b.String(), nil
}

// Server is a running moto.
type Server struct {
	Endpoint string // such as http://127.0.0.1:41237

	cmd    *exec.Cmd
	life   io.Closer // serve.py ends when this pipe closes, however its parent dies
	stderr *tail
	once   sync.Once
	exit   error
}

// Options of Launch.
type Options struct {
	Moto string // moto_server or a Python; "" takes the environment variable or PATH
	// Raw runs moto without our corrections. The tests show with it that each
	// of them is still needed.
	Raw bool
}

// Launch starts moto on a free port of the loopback interface and waits until
// it answers. The caller closes it.
func Launch(ctx context.Context, o Options) (*Server, error) {
	python, err := find(o.Moto)
	if err != nil {
		return nil, err
	}
	text, err := source()
	if err != nil {
		return nil, err
	}
	args := []string{"-c", text}
	if o.Raw {
		args = append(args, "raw")
	}
	s := &Server{cmd: exec.Command(python, args...), stderr: &tail{}}
	s.cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1", "PYTHONUNBUFFERED=1", "TZ=UTC")
	s.cmd.Stderr = s.stderr
	s.cmd.SysProcAttr = ownGroup()
	in, err := s.cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("starting moto: %w", err)
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("starting moto: %w", err)
	}
	s.life = in
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting moto with %s: %w", python, err)
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	ready := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(out).ReadString('\n') // what failed is on its stderr
		ready <- strings.TrimSpace(line)
	}()
	select {
	case s.Endpoint = <-ready:
	case <-ctx.Done():
	}
	if !strings.HasPrefix(s.Endpoint, "http://") && s.Endpoint != "" {
		_ = s.Close() // it has ended by itself
		return nil, fmt.Errorf("%w: %s at %s (`bash .ci/moto` installs it)", ErrVersion, s.Endpoint, python)
	}
	if s.Endpoint == "" {
		err := errors.Join(s.Close(), ctx.Err())
		return nil, fmt.Errorf("starting moto with %s: %w: %s", python, err, s.stderr)
	}
	return s, nil
}

// Close ends the server and waits for it.
func (s *Server) Close() error {
	s.once.Do(func() {
		_ = s.life.Close() // it ends by itself; what follows is for one that hangs
		timer := time.AfterFunc(30*time.Second, func() { _ = s.cmd.Process.Kill() })
		defer timer.Stop()
		if err := s.cmd.Wait(); err != nil {
			s.exit = fmt.Errorf("ending moto: %w", err)
		}
	})
	return s.exit
}

// find returns the Python that has moto.
func find(moto string) (string, error) {
	if moto == "" {
		moto = os.Getenv(Variable)
	}
	if moto == "" {
		found, err := exec.LookPath("moto_server")
		if err != nil {
			return "", ErrMissing
		}
		moto = found
	}
	if strings.HasPrefix(filepath.Base(moto), "python") {
		return moto, nil
	}
	f, err := os.Open(moto)
	if err != nil {
		return "", fmt.Errorf("%s: %w", Variable, err)
	}
	defer f.Close()
	line, err := bufio.NewReader(io.LimitReader(f, 4096)).ReadString('\n')
	interpreter, ok := strings.CutPrefix(strings.TrimSpace(line), "#!")
	if err != nil || !ok {
		return "", fmt.Errorf("%s: want moto_server, or a python that has moto", moto)
	}
	if strings.HasPrefix(filepath.Base(interpreter), "python") {
		return interpreter, nil
	}
	return filepath.Join(filepath.Dir(moto), "python3"), nil // a wrapper in shell has one beside it
}

// tail keeps the last few kilobytes that were written to it.
type tail struct {
	mu sync.Mutex // guards b
	b  []byte
}

const tailBytes = 8 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p...)
	if over := len(t.b) - tailBytes; over > 0 {
		t.b = append(t.b[:0], t.b[over:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.b)
}
