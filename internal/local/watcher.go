package local

import (
	"os"
	"path/filepath"
	"slices"

	"github.com/fsnotify/fsnotify"

	"github.com/keyferry/keyferry/secret"
)

// Folders returns, in order, the folders in which a change of the manifests or of the
// files of credentials shows: also where editors replace files, and where they are
// links to files elsewhere.
func Folders(paths []string, credentials []Credential) []string {
	seen := map[string]bool{}
	file := func(path string) {
		seen[filepath.Dir(path)] = true
		if target, err := filepath.EvalSymlinks(path); err == nil {
			seen[filepath.Dir(target)] = true
		}
	}
	for _, path := range paths {
		if path == "-" {
			continue
		}
		file(path)
		if info, err := os.Stat(path); err != nil || !info.IsDir() {
			continue
		}
		_ = walk(path, func(at string, isDir bool) error { // what cannot be read is reported by Load
			if isDir {
				seen[at] = true
			} else {
				file(at)
			}
			return nil
		})
	}
	for _, c := range credentials {
		if c.from == "file" {
			file(c.source)
		}
	}
	return secret.Keys(seen)
}

// Watcher tells that something in a folder has changed.
type Watcher struct {
	inner   *fsnotify.Watcher
	changed chan struct{}
}

// NewWatcher returns a Watcher of no folder. It fails with Unavailable where the
// system has no means, or none left.
func NewWatcher() (*Watcher, error) {
	inner, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, refuse(secret.Unavailable, "files cannot be watched: %w", err)
	}
	w := &Watcher{inner: inner, changed: make(chan struct{}, 1)}
	go w.run()
	return w, nil
}

func (w *Watcher) run() {
	for {
		select {
		case e, ok := <-w.inner.Events:
			if !ok {
				return
			}
			if e.Op == fsnotify.Chmod {
				continue
			}
		case _, ok := <-w.inner.Errors: // events were lost: there may have been some
			if !ok {
				return
			}
		}
		select {
		case w.changed <- struct{}{}:
		default:
		}
	}
}

// Changed receives after a change; several changes may be received as one.
func (w *Watcher) Changed() <-chan struct{} { return w.changed }

// Follow watches these folders and no others. A folder that is not there is left out.
// It fails with Unavailable if the system allows no more.
func (w *Watcher) Follow(folders []string) error {
	for _, old := range w.inner.WatchList() {
		if !slices.Contains(folders, old) {
			_ = w.inner.Remove(old) // it may be gone by itself
		}
	}
	for _, folder := range folders {
		if err := w.inner.Add(folder); err != nil && !os.IsNotExist(err) {
			return refuse(secret.Unavailable, "%s cannot be watched: %w", folder, err)
		}
	}
	return nil
}

// Close stops watching.
func (w *Watcher) Close() error { return w.inner.Close() }
