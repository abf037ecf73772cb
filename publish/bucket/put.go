package bucket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// staged is an object on its way to its key.
type staged struct {
	*Object
	final string
	temp  string // its file in the staging directory, while it has one
	kept  bool   // the same bytes lie at its key already
}

// PutNew puts each object at its key if nothing lies there. The same bytes at
// the key are fine; other bytes are an ErrDiffers, and stay. When it returns
// without error all objects are on disk. With an error some may be there, each
// of them whole.
func (d *Directory) PutNew(ctx context.Context, objects ...Object) error {
	if err := d.put(ctx, objects, false); err != nil {
		return fmt.Errorf("putting %d objects: %w", len(objects), err)
	}
	return nil
}

// Replace puts each object at its key, over what lies there. A reader gets
// the old one or the new one. When it returns without error all objects are
// on disk. With an error some may be there, each of them whole.
func (d *Directory) Replace(ctx context.Context, objects ...Object) error {
	if err := d.put(ctx, objects, true); err != nil {
		return fmt.Errorf("replacing %d objects: %w", len(objects), err)
	}
	return nil
}

// put takes a batch through four steps: stage, sync, name, sync the names. A
// name appears only after its bytes are on disk, so no crash leaves a part of
// an object at a key; what it leaves in the staging directory, OpenDirectory
// sweeps away.
func (d *Directory) put(ctx context.Context, objects []Object, over bool) (err error) {
	if len(objects) == 0 {
		return nil
	}
	began := time.Now()
	batch, err := d.plan(objects)
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, discard(batch))
		d.metrics.put(countStaged(batch), over, began, err)
	}()
	if err := d.stage(ctx, batch, over); err != nil {
		return err
	}
	// Every byte is durable, under names that nobody knows. A crash here
	// changes nothing.
	directories, err := d.makeDirectories(batch)
	if err != nil {
		return err
	}
	for i := range batch {
		if err := d.name(&batch[i], over); err != nil {
			return fmt.Errorf("object %q: %w", batch[i].Key, err)
		}
	}
	// Readers see the objects. A crash of the machine may take names back,
	// until they are synced too. That holds also for objects that were there
	// before: their writer may not have come so far.
	if err := syncDirectories(directories); err != nil {
		return fmt.Errorf("syncing directories: %w", err)
	}
	d.remember(directories)
	return nil
}

func countStaged(batch []staged) written {
	objects, kept := make([]*Object, len(batch)), make([]bool, len(batch))
	for i := range batch {
		objects[i], kept[i] = batch[i].Object, batch[i].kept
	}
	return countBatch(objects, kept)
}

func (d *Directory) plan(objects []Object) ([]staged, error) {
	batch := make([]staged, len(objects))
	for i := range objects {
		o := &objects[i]
		if !ValidKey(o.Key) {
			return nil, fmt.Errorf("object %q: %w", o.Key, ErrKey)
		}
		batch[i] = staged{Object: o, final: d.file(o.Key)}
	}
	return batch, nil
}

// stage writes the batch to the staging directory and syncs it. New objects
// that lie at their keys already are compared and not written: a difference
// is found before anything is visible.
func (d *Directory) stage(ctx context.Context, batch []staged, over bool) error {
	path, err := d.staging.reserve(len(batch))
	if err != nil {
		return err
	}
	files := make([]string, 0, len(batch))
	for i := range batch {
		if err := ctx.Err(); err != nil {
			return err
		}
		s := &batch[i]
		if !over {
			switch err := compare(s.final, s.Body); {
			case err == nil:
				s.kept = true
				continue
			case !errors.Is(err, fs.ErrNotExist):
				return fmt.Errorf("object %q: %w", s.Key, err)
			}
		}
		s.temp = path(i)
		if err := writeFile(s.temp, s.Body); err != nil {
			return fmt.Errorf("staging object %q: %w", s.Key, err)
		}
		files = append(files, s.temp)
	}
	if err := syncFiles(d.root, files); err != nil {
		return fmt.Errorf("syncing: %w", err)
	}
	return nil
}

func writeFile(path string, body []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(body)
	return errors.Join(err, f.Close())
}

// compare says whether the file has these bytes: nil, ErrDiffers, or why it
// cannot be read.
func compare(path string, body []byte) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() || info.Size() != int64(len(body)) {
		return ErrDiffers
	}
	there, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if !bytes.Equal(there, body) {
		return ErrDiffers
	}
	return nil
}

// name gives a staged object its key.
func (d *Directory) name(s *staged, over bool) error {
	if s.kept {
		return nil
	}
	if over {
		if err := os.Rename(s.temp, s.final); err != nil {
			return err
		}
		s.temp = ""
		d.cache.forget(s.Key)
		return nil
	}
	err := renameNew(s.temp, s.final)
	if errors.Is(err, fs.ErrExist) {
		s.kept = true // another was faster
		return compare(s.final, s.Body)
	}
	if err == nil {
		s.temp = ""
	}
	return err
}

// discard removes what was staged and got no key.
func discard(batch []staged) error {
	var failed error
	for i := range batch {
		if batch[i].temp == "" {
			continue
		}
		if err := os.Remove(batch[i].temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
			failed = errors.Join(failed, err)
		}
	}
	return failed
}

// makeDirectories makes the directories of the batch's keys. It returns those
// to sync after naming: each directory that gets a name, and the way down to
// it unless that is known to be on disk.
func (d *Directory) makeDirectories(batch []staged) ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	seen := make(map[string]struct{})
	var directories []string
	for i := range batch {
		directory := filepath.Dir(batch[i].final)
		if _, ok := seen[directory]; ok {
			continue
		}
		seen[directory] = struct{}{}
		directories = append(directories, directory)
		if _, ok := d.durable[directory]; ok {
			continue
		}
		if err := os.MkdirAll(directory, 0o755); err != nil {
			return nil, fmt.Errorf("making directory: %w", err)
		}
		for directory != d.root {
			directory = filepath.Dir(directory)
			if _, ok := seen[directory]; !ok {
				seen[directory] = struct{}{}
				directories = append(directories, directory)
			}
		}
	}
	return directories, nil
}

// remember notes directories that have been synced together with the way down
// to them.
func (d *Directory) remember(directories []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, directory := range directories {
		d.durable[directory] = struct{}{}
	}
}
