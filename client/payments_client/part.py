"""What every model of the contract is made of."""

from pydantic import BaseModel, ConfigDict


class Part(BaseModel):
    """Strict and frozen; unknown keys are refused, so that a misspelt promise is not silently dropped."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)
