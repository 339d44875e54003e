package main

import (
	"context"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const smallest = 1 << 20

type driver struct {
	csi.UnimplementedIdentityServer
	csi.UnimplementedControllerServer
	csi.UnimplementedNodeServer
	store store
	node  string
}

func (d *driver) GetPluginInfo(context.Context, *csi.GetPluginInfoRequest) (*csi.GetPluginInfoResponse, error) {
	return &csi.GetPluginInfoResponse{Name: name, VendorVersion: "dev"}, nil
}

func (d *driver) Probe(context.Context, *csi.ProbeRequest) (*csi.ProbeResponse, error) {
	return &csi.ProbeResponse{Ready: wrapperspb.Bool(true)}, nil
}

func (d *driver) GetPluginCapabilities(context.Context, *csi.GetPluginCapabilitiesRequest) (*csi.GetPluginCapabilitiesResponse, error) {
	return &csi.GetPluginCapabilitiesResponse{Capabilities: []*csi.PluginCapability{
		{Type: &csi.PluginCapability_Service_{Service: &csi.PluginCapability_Service{
			Type: csi.PluginCapability_Service_CONTROLLER_SERVICE}}},
		{Type: &csi.PluginCapability_VolumeExpansion_{VolumeExpansion: &csi.PluginCapability_VolumeExpansion{
			Type: csi.PluginCapability_VolumeExpansion_ONLINE}}},
	}}, nil
}

func (d *driver) ControllerGetCapabilities(context.Context, *csi.ControllerGetCapabilitiesRequest) (*csi.ControllerGetCapabilitiesResponse, error) {
	response := &csi.ControllerGetCapabilitiesResponse{}
	for _, kind := range []csi.ControllerServiceCapability_RPC_Type{
		csi.ControllerServiceCapability_RPC_CREATE_DELETE_VOLUME,
		csi.ControllerServiceCapability_RPC_CREATE_DELETE_SNAPSHOT,
		csi.ControllerServiceCapability_RPC_CLONE_VOLUME,
		csi.ControllerServiceCapability_RPC_EXPAND_VOLUME,
	} {
		response.Capabilities = append(response.Capabilities, &csi.ControllerServiceCapability{
			Type: &csi.ControllerServiceCapability_Rpc{Rpc: &csi.ControllerServiceCapability_RPC{Type: kind}}})
	}
	return response, nil
}

func (d *driver) CreateVolume(_ context.Context, request *csi.CreateVolumeRequest) (*csi.CreateVolumeResponse, error) {
	if request.Name == "" || len(request.VolumeCapabilities) == 0 {
		return nil, status.Error(codes.InvalidArgument, "a volume needs a name and capabilities")
	}
	for _, capability := range request.VolumeCapabilities {
		if capability.GetBlock() != nil {
			return nil, status.Error(codes.InvalidArgument, "volumes are folders: volumeMode Block is not to be had")
		}
	}
	d.store.lock.Lock()
	defer d.store.lock.Unlock()
	bytes := max(request.CapacityRange.GetRequiredBytes(), smallest)
	volume := id(request.Name)
	found, err := d.store.read(volumes, volume)
	if err != nil {
		return nil, err
	}
	if found == nil {
		from, err := d.source(request.VolumeContentSource)
		if err != nil {
			return nil, err
		}
		found = &about{Name: request.Name, Bytes: bytes, Created: time.Now()}
		if err := d.store.make(volumes, volume, from, *found); err != nil {
			return nil, err
		}
	} else if found.Bytes < bytes {
		return nil, status.Errorf(codes.AlreadyExists, "%s is there with %d bytes", request.Name, found.Bytes)
	}
	return &csi.CreateVolumeResponse{Volume: &csi.Volume{
		VolumeId: volume, CapacityBytes: found.Bytes, ContentSource: request.VolumeContentSource,
	}}, nil
}

// The folder that a new volume begins as a copy of.
func (d *driver) source(content *csi.VolumeContentSource) (string, error) {
	if content == nil {
		return "", nil
	}
	kind, from := volumes, content.GetVolume().GetVolumeId()
	if snapshot := content.GetSnapshot(); snapshot != nil {
		kind, from = snapshots, snapshot.SnapshotId
	}
	found, err := d.store.read(kind, from)
	if err == nil && found == nil {
		err = status.Errorf(codes.NotFound, "no such source: %s", from)
	}
	return d.store.data(kind, from), err
}

func (d *driver) DeleteVolume(_ context.Context, request *csi.DeleteVolumeRequest) (*csi.DeleteVolumeResponse, error) {
	if request.VolumeId == "" {
		return nil, status.Error(codes.InvalidArgument, "no volume id")
	}
	d.store.lock.Lock()
	defer d.store.lock.Unlock()
	return &csi.DeleteVolumeResponse{}, d.store.remove(volumes, request.VolumeId)
}

func (d *driver) ValidateVolumeCapabilities(_ context.Context, request *csi.ValidateVolumeCapabilitiesRequest) (*csi.ValidateVolumeCapabilitiesResponse, error) {
	if found, err := d.store.read(volumes, request.VolumeId); err != nil || found == nil {
		return nil, status.Errorf(codes.NotFound, "no such volume: %s", request.VolumeId)
	}
	return &csi.ValidateVolumeCapabilitiesResponse{Confirmed: &csi.ValidateVolumeCapabilitiesResponse_Confirmed{
		VolumeCapabilities: request.VolumeCapabilities,
	}}, nil
}

func (d *driver) ControllerExpandVolume(_ context.Context, request *csi.ControllerExpandVolumeRequest) (*csi.ControllerExpandVolumeResponse, error) {
	d.store.lock.Lock()
	defer d.store.lock.Unlock()
	bytes := request.CapacityRange.GetRequiredBytes()
	if err := d.store.resize(request.VolumeId, bytes); err != nil {
		return nil, err
	}
	return &csi.ControllerExpandVolumeResponse{CapacityBytes: bytes, NodeExpansionRequired: true}, nil
}

func (d *driver) CreateSnapshot(_ context.Context, request *csi.CreateSnapshotRequest) (*csi.CreateSnapshotResponse, error) {
	if request.Name == "" || request.SourceVolumeId == "" {
		return nil, status.Error(codes.InvalidArgument, "a snapshot needs a name and a volume")
	}
	d.store.lock.Lock()
	defer d.store.lock.Unlock()
	snapshot := id(request.Name)
	found, err := d.store.read(snapshots, snapshot)
	if err != nil {
		return nil, err
	}
	if found == nil {
		volume, err := d.store.read(volumes, request.SourceVolumeId)
		if err != nil || volume == nil {
			return nil, status.Errorf(codes.NotFound, "no such volume: %s", request.SourceVolumeId)
		}
		found = &about{Name: request.Name, Bytes: volume.Bytes, Source: request.SourceVolumeId, Created: time.Now()}
		if err := d.store.make(snapshots, snapshot, d.store.data(volumes, request.SourceVolumeId), *found); err != nil {
			return nil, err
		}
	} else if found.Source != request.SourceVolumeId {
		return nil, status.Errorf(codes.AlreadyExists, "%s is of another volume", request.Name)
	}
	return &csi.CreateSnapshotResponse{Snapshot: &csi.Snapshot{
		SnapshotId: snapshot, SourceVolumeId: found.Source, SizeBytes: found.Bytes,
		CreationTime: timestamppb.New(found.Created), ReadyToUse: true,
	}}, nil
}

func (d *driver) DeleteSnapshot(_ context.Context, request *csi.DeleteSnapshotRequest) (*csi.DeleteSnapshotResponse, error) {
	if request.SnapshotId == "" {
		return nil, status.Error(codes.InvalidArgument, "no snapshot id")
	}
	d.store.lock.Lock()
	defer d.store.lock.Unlock()
	return &csi.DeleteSnapshotResponse{}, d.store.remove(snapshots, request.SnapshotId)
}
