package local

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/keyferry/keyferry/secret"
)

const (
	indexFolder = ".keyferry"
	temporary   = indexFolder + "/tmp-"
	fileMode    = 0o600
	folderMode  = 0o700
)

// disk is the folder of an output. Paths are relative to it and use "/". Symbolic
// links in it are refused, and nothing outside it is reached.
type disk struct{ root *os.Root }

// openDisk opens the folder, made if create is set, and removes what a run that was
// interrupted left behind. Without create, a folder that is not there is nil.
func openDisk(dir string, create bool) (*disk, error) {
	if create {
		if err := os.MkdirAll(dir, folderMode); err != nil {
			return nil, fileError(dir, err)
		}
	}
	root, err := os.OpenRoot(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !create:
		return nil, nil
	case err != nil:
		return nil, fileError(dir, err)
	}
	d := &disk{root}
	if !create {
		return d, nil
	}
	names, err := d.list(indexFolder)
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	for _, n := range names {
		if file := path.Join(indexFolder, n); strings.HasPrefix(file, temporary) {
			_ = root.Remove(file) // another run may have finished meanwhile
		}
	}
	return d, nil
}

// fileError gives an error of the file system its kind.
func fileError(file string, err error) error {
	if secret.KindOf(err) != secret.Internal {
		return err
	}
	kind := secret.Unavailable
	switch {
	case errors.Is(err, fs.ErrPermission):
		kind = secret.Denied
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrExist), strings.HasSuffix(err.Error(), "not a directory"):
		kind = secret.Invalid
	}
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		err = e.Err
	} else if e, ok := errors.AsType[*os.LinkError](err); ok {
		err = e.Err
	}
	return refuse(kind, "%s: %w", file, err)
}

// stat returns what is at a path; nil if nothing is. It fails with Conflict if a
// folder on the way is none.
func (d *disk) stat(file string) (fs.FileInfo, error) {
	for i, r := range file {
		if r != '/' {
			continue
		}
		info, err := d.root.Lstat(file[:i])
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil, nil
		case err != nil:
			return nil, fileError(file[:i], err)
		case !info.IsDir():
			return nil, refuse(secret.Conflict, "%s: is no folder; links are not followed: remove it", file[:i])
		}
	}
	info, err := d.root.Lstat(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fileError(file, err)
	}
	return info, nil
}

// maxFile is more than a Secret holds, in any encoding.
const maxFile = 4 * corev1.MaxSecretSize

// read returns what a file holds, and whether there is one.
func (d *disk) read(file string) ([]byte, bool, error) {
	info, err := d.stat(file)
	if err != nil || info == nil {
		return nil, false, err
	}
	if !info.Mode().IsRegular() {
		return nil, false, refuse(secret.Conflict, "%s: is no regular file; links are not followed: remove it", file)
	}
	f, err := d.root.Open(file)
	if err != nil {
		return nil, false, fileError(file, err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(b) > maxFile {
		return nil, false, refuse(secret.Conflict, "%s: is larger than anything written here: remove it", file)
	}
	if err != nil {
		return nil, false, fileError(file, err)
	}
	return b, true, nil
}

// list returns the names in a folder, in order; none if there is no folder.
func (d *disk) list(folder string) ([]string, error) {
	info, err := d.stat(folder)
	if err != nil || info == nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, refuse(secret.Conflict, "%s: is no folder; links are not followed: remove it", folder)
	}
	entries, err := fs.ReadDir(d.root.FS(), folder)
	if err != nil {
		return nil, fileError(folder, err)
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, nil
}

// write makes a file hold content: all of it or, if it fails, what it held before. A
// file that holds it is not touched.
func (d *disk) write(file string, content []byte) error {
	held, ok, err := d.read(file)
	if err != nil || ok && bytes.Equal(held, content) {
		return err
	}
	for _, folder := range []string{path.Dir(file), indexFolder} {
		if err := d.root.MkdirAll(folder, folderMode); err != nil {
			return fileError(folder, err)
		}
	}
	temp := temporary + rand.Text()
	if err := d.fill(temp, content); err != nil {
		_ = d.root.Remove(temp) // it may not have been made
		return fileError(file, err)
	}
	if err := d.root.Rename(temp, file); err != nil {
		_ = d.root.Remove(temp)
		return fileError(file, err)
	}
	return nil
}

func (d *disk) fill(file string, content []byte) error {
	f, err := d.root.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Sync(), f.Close())
}

// remove removes a file, if it is there, and the folders that it leaves empty.
func (d *disk) remove(file string) error {
	info, err := d.stat(file)
	if err != nil || info == nil {
		return err
	}
	if info.IsDir() {
		return refuse(secret.Conflict, "%s: is a folder: remove it", file)
	}
	if err := d.root.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fileError(file, err)
	}
	for folder := path.Dir(file); folder != "." && d.root.Remove(folder) == nil; { // until one is not empty
		folder = path.Dir(folder)
	}
	return nil
}
