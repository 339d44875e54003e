package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"
)

// What is known of a volume or snapshot besides its files.
type about struct {
	Name    string    `json:"name"`
	Bytes   int64     `json:"bytes"`
	Source  string    `json:"source,omitempty"`
	Created time.Time `json:"created"`
}

// Volumes and snapshots as folders: `about.json` and `data` in each. What is under its name is whole:
// it was made beside it and renamed.
type store struct {
	root string
	lock sync.Mutex
}

const (
	volumes   = "volumes"
	snapshots = "snapshots"
)

func (s *store) prepare() error {
	for _, kind := range []string{volumes, snapshots} {
		if err := os.MkdirAll(filepath.Join(s.root, kind), 0o700); err != nil {
			return err
		}
	}
	return nil
}

// The same name is the same thing, however often it is made.
func id(name string) string {
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:12])
}

func (s *store) data(kind, id string) string {
	return filepath.Join(s.root, kind, filepath.Base(id), "data")
}

func (s *store) read(kind, id string) (*about, error) {
	text, err := os.ReadFile(filepath.Join(s.root, kind, filepath.Base(id), "about.json"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var found about
	return &found, json.Unmarshal(text, &found)
}

// Makes it with the files of `from`, if there is one.
func (s *store) make(kind, id, from string, what about) error {
	place := filepath.Join(s.root, kind, id)
	partial := filepath.Join(s.root, ".partial-"+kind+"-"+id)
	if err := os.RemoveAll(partial); err != nil {
		return err
	}
	files := filepath.Join(partial, "data")
	if err := os.MkdirAll(partial, 0o700); err != nil {
		return err
	}
	if from == "" {
		if err := os.Mkdir(files, 0o777); err != nil {
			return err
		}
		if err := os.Chmod(files, 0o777); err != nil {
			return err
		}
	} else if said, err := exec.Command("cp", "-a", from, files).CombinedOutput(); err != nil {
		return fmt.Errorf("cannot copy %s: %w: %s", from, err, said)
	}
	if err := write(partial, what); err != nil {
		return err
	}
	return os.Rename(partial, place)
}

func (s *store) resize(id string, bytes int64) error {
	found, err := s.read(volumes, id)
	if err != nil || found == nil || found.Bytes >= bytes {
		return err
	}
	found.Bytes = bytes
	return write(filepath.Join(s.root, volumes, filepath.Base(id)), *found)
}

func (s *store) remove(kind, id string) error {
	return os.RemoveAll(filepath.Join(s.root, kind, filepath.Base(id)))
}

func write(folder string, what about) error {
	text, err := json.Marshal(what)
	if err != nil {
		return err
	}
	partial := filepath.Join(folder, "about.partial")
	if err := os.WriteFile(partial, text, 0o600); err != nil {
		return err
	}
	return os.Rename(partial, filepath.Join(folder, "about.json"))
}
