package register_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"tallystream/service/register"
	"tallystream/service/register/registertest"
)

func openFile(t *testing.T, path string) *register.SQLite {
	t.Helper()
	r, err := register.OpenSQLite(path)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestSQLiteIsARegister(t *testing.T) {
	t.Parallel()
	registertest.Run(t, func(t *testing.T) registertest.Open {
		path := filepath.Join(t.TempDir(), "control.db")
		return func(t *testing.T) registertest.Register { return openFile(t, path) }
	})
}

func TestAnotherVersionOfTheFileIsRefused(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "control.db")
	if err := openFile(t, path).Close(); err != nil {
		t.Fatal(err)
	}
	conn, err := sqlite.OpenConn(path, sqlite.OpenReadWrite)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(sqlitex.ExecuteTransient(conn, "PRAGMA user_version = 7", nil), conn.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := register.OpenSQLite(path); err == nil || !strings.Contains(err.Error(), "file version is 7, this program knows 1") {
		t.Errorf("OpenSQLite: %v", err)
	}
}

// counterFile makes the test binary a process that counts in a register until
// it is killed.
const counterFile = "TALLYSTREAM_TEST_REGISTER"

func TestMain(m *testing.M) {
	if path := os.Getenv(counterFile); path != "" {
		if err := count(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// count raises a number in the register again and again, and prints each
// number that it has written.
func count(path string) error {
	r, err := register.OpenSQLite(path)
	if err != nil {
		return err
	}
	c := counter{r}
	for {
		n, err := c.raise()
		if err != nil && !errors.Is(err, register.ErrConflict) {
			return err
		}
		if err == nil {
			fmt.Println(n)
		}
	}
}

// TestProcessesThatAreKilledLoseAndDoubleNothing: several processes raise one
// number; each number that one of them printed is printed once, and the
// register is at least as far when all were killed.
func TestProcessesThatAreKilledLoseAndDoubleNothing(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "control.db")
	written := make(chan int)
	const processes, each = 3, 40
	for range processes {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), counterFile+"="+path)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		go func() {
			lines := bufio.NewScanner(out)
			for i := 0; i < each && lines.Scan(); i++ {
				n, err := strconv.Atoi(lines.Text())
				if err != nil {
					t.Errorf("line %q", lines.Text())
				}
				written <- n
			}
			_ = cmd.Process.Kill() // SIGKILL, wherever it is
			_ = cmd.Wait()
			written <- 0
		}()
	}
	seen, last := map[int]bool{}, 0
	for running := processes; running > 0; {
		n := <-written
		if n == 0 {
			running--
			continue
		}
		if seen[n] {
			t.Errorf("%d was written twice", n)
		}
		seen[n], last = true, max(last, n)
	}
	r := openFile(t, path)
	defer r.Close()
	n, _, err := counter{r}.read()
	if err != nil || n < last || len(seen) != processes*each {
		t.Errorf("the register is at %d (%v), %d was reported, %d reports in all", n, err, last, len(seen))
	}
}

func TestAFileThatCannotBeOpenedIsNamed(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "missing", "control.db")
	if _, err := register.OpenSQLite(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("OpenSQLite: %v, want the path in it", err)
	}
}
