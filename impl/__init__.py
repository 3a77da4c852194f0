"""Subjects: the implementations under test."""
