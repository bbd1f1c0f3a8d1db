package testenv

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// lock takes the lock file, which the system releases when the process ends. It
// calls waiting once if somebody else holds it, and blocks until ctx ends.
func lock(ctx context.Context, path string, waiting func()) (unlock func(), err error) {
	for told := false; ; told = true {
		file, err := tryLock(path)
		if err == nil {
			return func() { _ = file.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, err
		}
		if !told {
			waiting()
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// tryLock takes the lock file, or fails with EWOULDBLOCK.
func tryLock(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return file, nil
}

const (
	dirPrefix  = "keyferry-testenv-"
	heldFile   = "held"
	freshInfix = "new-"
)

// workDir is a directory of this process, held by a lock so that others can tell
// when it is left over.
type workDir struct {
	path string
	held *os.File
}

// newWorkDir makes a directory, and removes those of processes that died.
func newWorkDir() (*workDir, error) {
	removeLeftovers()
	fresh, err := os.MkdirTemp("", dirPrefix+freshInfix)
	if err != nil {
		return nil, err
	}
	held, err := tryLock(filepath.Join(fresh, heldFile))
	if err != nil {
		return nil, err
	}
	// Only now may others find it: before, it looked left over.
	path := filepath.Join(filepath.Dir(fresh), dirPrefix+filepath.Base(fresh)[len(dirPrefix+freshInfix):])
	return &workDir{path, held}, os.Rename(fresh, path)
}

// remove deletes the directory.
func (d *workDir) remove() {
	_ = os.RemoveAll(d.path)
	_ = d.held.Close()
}

// removeLeftovers deletes the directories that nobody holds. It is a courtesy to
// the machine: what cannot be deleted stays.
func removeLeftovers() {
	held, err := filepath.Glob(filepath.Join(os.TempDir(), dirPrefix+"[0-9]*", heldFile))
	if err != nil {
		return
	}
	for _, file := range held {
		if lock, err := tryLock(file); err == nil {
			_ = os.RemoveAll(filepath.Dir(file))
			_ = lock.Close()
		}
	}
}
