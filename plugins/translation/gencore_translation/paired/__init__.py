"""Pictures with their pictures: translation and restoration."""
