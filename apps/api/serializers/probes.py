"""What a client without a certificate saw."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from apps.api.serializers.common import CaRefSerializer


class ProbeSerializer(serializers.Serializer[Any]):
    """One probe."""

    at = serializers.DateTimeField()
    agreement = serializers.CharField(help_text="agrees, contradicts or cannot_tell: against the last read of the edge")
    code = serializers.CharField(help_text="Why, stable for programs.")
    sentence = serializers.CharField()
    asked = serializers.CharField(help_text="yes, no or unknown: whether the handshake asks for a client certificate")
    ca_names = serializers.ListField(source="names", child=serializers.CharField(), help_text="At most 100.")
    ca_name_count = serializers.IntegerField(source="name_count")
    status = serializers.IntegerField(allow_null=True, help_text="HTTP status of a request without a certificate.")
    status_line = serializers.CharField(allow_blank=True)
    turned_away = serializers.BooleanField(help_text="The TLS handshake ended because no certificate came.")
    tls_version = serializers.CharField(allow_blank=True)
    certificate_problem = serializers.CharField(allow_blank=True, help_text="Why the server is not trusted.")
    address = serializers.CharField(allow_blank=True)
    ray = serializers.CharField(allow_blank=True)
    error = serializers.CharField(allow_blank=True)
    error_code = serializers.CharField(allow_blank=True)
    took_ms = serializers.IntegerField()


class NamedCaSerializer(serializers.Serializer[Any]):
    """A CA that the edge lists for the hostname."""

    ca = CaRefSerializer()
    named = serializers.BooleanField(help_text="Whether the handshake named it. False proves nothing.")


class HostnameProbeSerializer(serializers.Serializer[Any]):
    """The probes of one hostname. `sentence` is that of the contradiction, if there is one."""

    hostname = serializers.CharField()
    enabled = serializers.BooleanField(help_text="Whether probing is on for the account.")
    covered = serializers.BooleanField(help_text="Only hostnames with approved coverage are contacted.")
    pending = serializers.BooleanField(help_text="A probe is asked for or running.")
    due_at = serializers.DateTimeField(allow_null=True)
    contradicts = serializers.BooleanField()
    sentence = serializers.CharField(allow_blank=True)
    since = serializers.DateTimeField(allow_null=True)
    cas = NamedCaSerializer(many=True)
    latest = ProbeSerializer(allow_null=True)
    history = ProbeSerializer(many=True)
